//! The `partwise` command.

mod cli;

use std::process::ExitCode;

use cli::args::{Command, Typed};
use cli::exit::{Exit, Failure};

fn main() -> ExitCode {
    run().unwrap_or_else(Failure::print).into()
}

fn run() -> Result<Exit, Failure> {
    match cli::args::parse(std::env::args_os())? {
        Typed::Help(text) => cli::output::help(&text),
        Typed::Command(Command::Get(args)) => cli::get::run(&args),
        Typed::Command(Command::Bench(args)) => cli::bench::run(&args),
        Typed::Command(Command::Inspect(args)) => cli::inspect::run(&args),
        Typed::Command(Command::Demo) => cli::demo::run(),
        Typed::Command(Command::Completions(args)) => cli::manual::completions(args.shell),
        Typed::Command(Command::Man) => cli::manual::man_page(),
    }
}
