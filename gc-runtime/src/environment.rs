//! `GC_LOG` and `GC_ZEAL`: what whoever starts the program may say.

use std::env::{self, VarError};

use crate::error::BuildError;
use crate::observe::LogSettings;
use crate::options::Zeal;

/// What the environment asks for; `None` where it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    pub(crate) log: Option<LogSettings>,
    pub(crate) zeal: Option<Zeal>,
}

impl Wishes {
    /// Reads the process's environment.
    pub(crate) fn read() -> Result<Self, BuildError> {
        Ok(Self {
            log: parsed("GC_LOG", |text| {
                LogSettings::parse(text).map_err(|error| error.to_string())
            })?,
            zeal: parsed("GC_ZEAL", |text| Zeal::parse(text).map_err(|error| error.to_string()))?,
        })
    }
}

/// An empty variable says nothing, as one that is not there.
fn parsed<T>(
    name: &'static str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, BuildError> {
    let bad = |value: String, reason| BuildError::Environment { name, value, reason };
    match env::var(name) {
        Ok(text) if text.trim().is_empty() => Ok(None),
        Ok(text) => parse(&text).map(Some).map_err(|reason| bad(text, reason)),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(text)) => {
            Err(bad(text.to_string_lossy().into_owned(), "it is not text".to_owned()))
        }
    }
}
