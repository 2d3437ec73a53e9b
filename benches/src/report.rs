//! The run as JSON: claims, raw samples, and what they were measured on.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::claim::Claim;
use crate::error::BenchError;
use crate::machine::{self, Machine};
use crate::samples::Series;

/// What one question has to say.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// The summary, line by line, for people.
    pub summary: Vec<String>,
    /// What the question claims, measured.
    pub claims: Vec<Claim>,
    /// The raw measurements.
    pub samples: Vec<Series>,
}

/// Everything that a run measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// Every claim of every question.
    pub claims: Vec<Claim>,
    /// The raw measurements of every question.
    pub samples: Vec<Asked>,
    /// The machine.
    pub machine: Machine,
    /// The kernel's release and version.
    pub kernel: String,
    /// The commit that was measured.
    pub commit: String,
}

/// A series, and the question that it was taken for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Asked {
    /// The question's name.
    pub question: String,
    /// The raw measurements.
    #[serde(flatten)]
    pub series: Series,
}

impl Report {
    /// A report about this machine, with nothing measured yet.
    #[must_use]
    pub fn here() -> Self {
        Self {
            claims: Vec::new(),
            samples: Vec::new(),
            machine: Machine::here(),
            kernel: machine::kernel(),
            commit: machine::commit(),
        }
    }

    /// Takes an answer in.
    pub fn add(&mut self, question: &str, answer: Answer) {
        self.claims.extend(answer.claims);
        self.samples.extend(
            answer
                .samples
                .into_iter()
                .map(|series| Asked { question: question.to_owned(), series }),
        );
    }

    /// A run that was kept as JSON; several are put together, with the machine of the first.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | [`BenchError::Run`] | a file is missing or no run | give others |
    pub fn kept(paths: &[PathBuf]) -> Result<Self, BenchError> {
        let mut report: Option<Self> = None;
        for path in paths {
            let failed = |why: String| BenchError::Run { path: path.display().to_string(), why };
            let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
            let run: Self =
                serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
            match &mut report {
                None => report = Some(run),
                Some(report) => {
                    report.claims.extend(run.claims);
                    report.samples.extend(run.samples);
                }
            }
        }
        report.ok_or_else(|| BenchError::Run { path: String::new(), why: "none given".to_owned() })
    }

    /// Whether every claim holds.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.claims.iter().all(|claim| claim.holds)
    }
}

/// A file that appears complete or not at all.
#[derive(Debug)]
pub struct ReportFile {
    path: PathBuf,
    part: PathBuf,
    file: File,
}

impl ReportFile {
    /// Opens a file beside `path`, so that a path that cannot be written shows before the
    /// measurements and not after them.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | [`BenchError::Report`] | the folder is missing or may not be written | give another path |
    pub fn create(path: &Path) -> Result<Self, BenchError> {
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        if path.is_dir() {
            return Err(failed(path, std::io::ErrorKind::IsADirectory.into()));
        }
        let file = File::create(&part).map_err(|source| failed(path, source))?;
        Ok(Self { path: path.to_path_buf(), part, file })
    }

    /// Writes the report and gives the file its name.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | [`BenchError::Report`] | the disk is full, or the folder is gone | the run's printed output is all there is |
    pub fn finish(self, report: &Report) -> Result<(), BenchError> {
        let text =
            serde_json::to_string(report).map_err(|error| failed(&self.path, error.into()))?;
        self.finish_text(&(text + "\n"))
    }

    /// Writes any text and gives the file its name.
    ///
    /// # Errors
    ///
    /// As for [`finish`](Self::finish).
    pub fn finish_text(mut self, text: &str) -> Result<(), BenchError> {
        self.file
            .write_all(text.as_bytes())
            .and_then(|()| self.file.sync_all())
            .and_then(|()| fs::rename(&self.part, &self.path))
            .map_err(|source| failed(&self.path, source))
    }
}

impl Drop for ReportFile {
    fn drop(&mut self) {
        // After `finish` there is nothing left under this name; before it, half a report.
        let _ = fs::remove_file(&self.part);
    }
}

fn failed(path: &Path, source: std::io::Error) -> BenchError {
    BenchError::Report { path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::here();
        let series = Series::new("side a", "us", vec![1.0, 2.0]);
        let claims = vec![Claim::at_most("q: a over a", &series, &series, 2.0)];
        report.add("q", Answer { summary: vec![], claims, samples: vec![series] });
        report
    }

    #[test]
    fn the_json_has_the_agreed_keys() {
        let json = serde_json::to_value(report()).expect("it is plain data");
        assert_eq!(json["claims"][0]["name"], "q: a over a");
        assert_eq!(json["claims"][0]["value"], 1.0);
        assert_eq!(json["claims"][0]["limit"], 2.0);
        assert_eq!(json["claims"][0]["holds"], true);
        assert_eq!(json["samples"][0]["question"], "q");
        assert_eq!(json["samples"][0]["values"][1], 2.0);
        for key in ["machine", "kernel", "commit"] {
            assert!(!json[key].is_null(), "{key}");
        }
    }

    #[test]
    fn a_report_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let path = folder.path().join("out.json");
        drop(ReportFile::create(&path).expect("the folder is there"));
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 0);
        ReportFile::create(&path).expect("created").finish(&report()).expect("written");
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1);
        assert!(fs::read_to_string(&path).expect("read").ends_with("}\n"));
    }

    #[test]
    fn a_path_that_cannot_be_written_shows_at_once() {
        assert!(ReportFile::create(Path::new("/no-such-folder/out.json")).is_err());
        assert!(ReportFile::create(Path::new("/")).is_err());
    }
}
