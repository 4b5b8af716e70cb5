//! `softmargin completions`.

use super::{Cli, STDOUT};
use anyhow::{Context, Result};
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::io::{Write, stdout};

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  softmargin completions bash > ~/.local/share/bash-completion/completions/softmargin")]
pub(super) struct Completions {
    /// Which shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "softmargin", &mut script);
        stdout().write_all(&script).context(STDOUT)
    }
}
