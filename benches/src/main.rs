//! `bench`: asks the questions, prints what was measured, and judges the claims.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use benches::claim::Claim;
use benches::error::{BenchError, chain};
use benches::questions::{self, Question, Scale, Settings};
use benches::report::{Answer, Report, ReportFile};
use benches::samples::Series;
use benches::stolen::Stolen;
use benches::trees;
use clap::{ArgGroup, Parser};

/// Exit status for arguments that make no sense, as clap's own.
const NOT_UNDERSTOOD: u8 = 2;

/// One benchmark per question. Exit status: 0 all claims hold, 1 one falls short, 2 bad arguments.
#[derive(Debug, Parser)]
#[command(name = "bench", group(ArgGroup::new("drawn").args(["report", "figure"]).multiple(true)))]
struct Arguments {
    /// Questions to ask; without a name, all of them
    names: Vec<String>,
    /// Write claims, raw samples, machine, kernel and commit to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw the run, as one HTML file that needs no network
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Draw the longest gap against the live heap alone, as `scaling` measured it
    #[arg(long, value_name = "FILE.svg")]
    figure: Option<PathBuf>,
    /// Measure nothing: take these runs, kept with --json, for --report or --figure
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "drawn", conflicts_with = "names")]
    from: Vec<PathBuf>,
    /// Turns for each side
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Tiny heaps, to see that the benchmarks run; no claim is judged
    #[arg(long)]
    smoke: bool,
    /// List the questions and end
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    if benches::single_step::is_stepped() {
        return benches::single_step::stepped();
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == trees::FLAG) {
        return trees::main(&words[1..]);
    }
    let arguments = Arguments::parse();
    if arguments.list {
        for question in questions::ALL {
            println!("{:<12} {}", question.name, question.asks);
        }
        return ExitCode::SUCCESS;
    }
    let chosen = match chosen(&arguments.names) {
        Ok(chosen) => chosen,
        Err(name) => {
            let known = questions::ALL.map(|question| question.name).join(", ");
            eprintln!("bench: there is no question `{name}`; there are: {known}");
            return ExitCode::from(NOT_UNDERSTOOD);
        }
    };
    let files = match Files::create(&arguments) {
        Ok(files) => files,
        Err(error) => {
            eprintln!("bench: {error}");
            return ExitCode::from(NOT_UNDERSTOOD);
        }
    };
    let scale = if arguments.smoke { Scale::Smoke } else { Scale::Full };
    let settings = Settings { scale, rounds: arguments.rounds };
    if !arguments.from.is_empty() {
        let drawn = Report::kept(&arguments.from).map_err(Into::into);
        return match drawn.and_then(|report| files.finish(report)) {
            Ok(_) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("bench: {}", chain(error.as_ref()));
                ExitCode::from(NOT_UNDERSTOOD)
            }
        };
    }
    match ask(&chosen, &settings, files) {
        Ok(report) if report.holds() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// The questions of these names, or the first name that there is no question for.
fn chosen(names: &[String]) -> Result<Vec<Question>, &str> {
    if names.is_empty() {
        return Ok(questions::ALL.to_vec());
    }
    names.iter().map(|name| questions::find(name).copied().ok_or(name.as_str())).collect()
}

fn ask(chosen: &[Question], settings: &Settings, files: Files) -> Result<Report, Box<dyn Error>> {
    let mut report = Report::here();
    println!("machine: {}", report.machine.line());
    println!("kernel: {}", report.kernel);
    println!("commit: {}", report.commit);
    for question in chosen {
        println!("\n== {}: {}", question.name, question.asks);
        let stolen = Stolen::from_now();
        let mut answer = match (question.run)(settings) {
            Ok(answer) => answer,
            Err(error) => {
                // The others are still worth asking. A question without an answer claims nothing.
                let why = chain(&error);
                eprintln!("bench: {}: {why}", question.name);
                let name = format!("{}: an answer", question.name);
                let claims = vec![Claim::unmeasured(&name, 0.0, &why)];
                Answer { claims, ..Answer::default() }
            }
        };
        let share = Series::new("stolen by other machines", "share", vec![stolen.share()]);
        answer.summary.push(share.line());
        answer.samples.push(share);
        for line in &answer.summary {
            println!("{line}");
        }
        report.add(question.name, answer);
    }
    if !report.claims.is_empty() {
        println!("\n== claims");
    }
    for claim in &report.claims {
        println!("{}", claim.line());
    }
    files.finish(report)
}

/// Where the run goes.
struct Files {
    json: Option<ReportFile>,
    html: Option<ReportFile>,
    svg: Option<ReportFile>,
}

impl Files {
    /// Opens those that are asked for.
    fn create(arguments: &Arguments) -> Result<Self, BenchError> {
        let create = |path: &Option<PathBuf>| path.as_deref().map(ReportFile::create).transpose();
        Ok(Self {
            json: create(&arguments.json)?,
            html: create(&arguments.report)?,
            svg: create(&arguments.figure)?,
        })
    }

    fn finish(self, report: Report) -> Result<Report, Box<dyn Error>> {
        if let Some(json) = self.json {
            json.finish(&report)?;
        }
        if let Some(html) = self.html {
            html.finish_text(&benches::figures::html(&report)?)?;
        }
        if let Some(svg) = self.svg {
            let figure = benches::figures::gap_figure(&report)?;
            svg.finish_text(&figure.ok_or("the run has no gaps to draw: ask `scaling`")?)?;
        }
        Ok(report)
    }
}
