//! `bombus top`: what the programs of the running kernel cost, as it happens.

mod app;
mod rates;
mod sample;
mod terminal;
mod text;
mod view;

use std::process::ExitCode;
use std::time::Duration;

use bombus_linux::{Linux, RunStatistics};
use clap::{Arg, ArgAction, ArgMatches, Command};

use self::app::App;
use self::sample::Sampler;
use crate::failure::Failure;

/// The flags.
pub(crate) fn command() -> Command {
    Command::new("top")
        .about("Shows what every program of the running kernel costs, as it happens")
        .long_about(
            "Shows every program of the running kernel with its runs a second, nanoseconds a run, \
             share of a CPU (100% is one CPU) and total time, with the processes that hold it. The \
             kernel counts while this runs, which costs every run of a program some 20 ns. Needs \
             CAP_SYS_ADMIN.",
        )
        .arg(
            Arg::new("interval")
                .short('i')
                .long("interval")
                .value_name("SECONDS")
                .value_parser(seconds)
                .default_value("1")
                .help("Time between two looks"),
        )
        .arg(
            Arg::new("once")
                .long("once")
                .action(ArgAction::SetTrue)
                .help("Look twice, print one table and end"),
        )
        .arg(
            Arg::new("json")
                .short('j')
                .long("json")
                .action(ArgAction::SetTrue)
                .requires("once")
                .help("With --once: as JSON"),
        )
}

/// A time of day-to-day length.
fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.001..=3600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("must be a number of seconds from 0.001 to 3600".to_owned()),
    }
}

/// Carries out `bombus top`.
pub(crate) fn run(matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let failed = |error| Failure::kernel(&error, false);
    let interval = *matches.get_one::<Duration>("interval").expect("it has a default");
    let linux = Linux::new().map_err(failed)?;
    let _counting = RunStatistics::enable().map_err(failed)?;
    let mut sampler = Sampler::new(&linux);
    if matches.get_flag("once") {
        let mut app = App::new(interval);
        app.add(sampler.look().map_err(failed)?);
        std::thread::sleep(interval);
        app.add(sampler.look().map_err(failed)?);
        let rows = app.rows();
        crate::print(&if matches.get_flag("json") {
            text::json(&rows)
        } else {
            text::table(&rows)
        });
    } else {
        terminal::show(&mut sampler, interval)?;
    }
    Ok(ExitCode::SUCCESS)
}
