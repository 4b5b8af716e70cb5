//! Parses the arguments, runs a command, and turns a failure into one line and an exit code: 2 for bad
//! arguments (from `clap`), 1 for bad data, files or results, 130 after Ctrl-C.

#![deny(clippy::print_stdout, clippy::print_stderr, reason = "as in the library")]

use anyhow::Context;
use clap::Parser;
use softmargin_cli::{
    commands::{Cli, STDOUT},
    interrupt::{self, Interrupted},
    progress::say,
    standard_output,
};
use std::{io, process::ExitCode};

fn main() -> ExitCode {
    let result = match Cli::try_parse() {
        Ok(command) => interrupt::survive_the_limit_of_files().and_then(|()| command.run()),
        // What was asked for, as help, may not get out; of a fault in the arguments, the exit code tells, too.
        Err(shown) if !shown.use_stderr() => {
            standard_output::check().and_then(|()| shown.print().context(STDOUT))
        }
        Err(fault) => {
            let _ = fault.print();
            return ExitCode::from(fault.exit_code() as u8);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has had enough of it.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) if error.is::<Interrupted>() => {
            say(&error);
            ExitCode::from(Interrupted::EXIT_CODE)
        }
        Err(error) => {
            say(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
