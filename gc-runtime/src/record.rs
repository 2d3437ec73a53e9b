//! The built-in object model: records of reference slots and data words.

use std::borrow::Cow;

use crate::layout::ObjectLayout;
use crate::model::{Header, ObjectModel};

/// The shape of a record: one header word, `refs` reference slots, then `data_words` data words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Record {
    /// Reference slots, at most [`Record::MAX_REFS`].
    pub refs: u32,
    /// Data words of 8 bytes; the collector never looks at them.
    pub data_words: u32,
}

impl Record {
    /// The most reference slots of one record: 2^28 - 1.
    pub const MAX_REFS: u32 = (1 << 28) - 1;

    /// The record's size in words with header, at least two.
    #[must_use]
    #[inline]
    pub fn words(self) -> u64 {
        (1 + u64::from(self.refs) + u64::from(self.data_words)).max(2)
    }

    /// The header word. Bit 63 is always set, so that no header is zero; reference slots are in
    /// bits 32 to 59, data words in bits 0 to 31.
    #[inline(always)]
    pub(crate) fn header(self) -> u64 {
        1 << 63 | u64::from(self.refs) << 32 | u64::from(self.data_words)
    }

    #[expect(clippy::cast_possible_truncation, reason = "fields of the header word")]
    #[inline]
    pub(crate) fn from_header(header: u64) -> Self {
        Self { refs: (header >> 32) as u32 & Self::MAX_REFS, data_words: header as u32 }
    }
}

/// The object model of heaps made of [`Record`]s.
#[derive(Clone, Copy, Debug, Default)]
pub struct Records;

impl ObjectModel for Records {
    #[inline]
    fn layout(&self, header: Header) -> ObjectLayout {
        let record = Record::from_header(header.first());
        let words = u32::try_from(record.words()).unwrap_or(u32::MAX);
        ObjectLayout::range(words, 1, record.refs.min(words - 1))
    }

    fn type_name(&self, header: Header) -> Cow<'static, str> {
        let Record { refs, data_words } = Record::from_header(header.first());
        Cow::Owned(format!("record of {refs} refs and {data_words} words"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_never_zero_and_keep_the_shape() {
        for record in [
            Record::default(),
            Record { refs: Record::MAX_REFS, data_words: 0 },
            Record { refs: 3, data_words: u32::MAX },
        ] {
            assert_ne!(record.header(), 0);
            assert_eq!(Record::from_header(record.header()), record);
        }
        assert_eq!(Record::default().words(), 2);
    }
}
