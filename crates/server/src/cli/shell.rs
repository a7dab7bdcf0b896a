//! `postrider completions` and `postrider man`: what shells and `man` show of the command line.

use super::{CommandError, Outcome, print, say};
use clap::CommandFactory;
use clap_complete::Shell;
use std::path::PathBuf;
use std::process::ExitCode;

/// Flags of `postrider completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider completions bash > /etc/bash_completion.d/postrider
  postrider completions zsh > ~/.zfunc/_postrider
  postrider completions fish > ~/.config/fish/completions/postrider.fish")]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Flags of `postrider man`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider man | man -l -
  postrider man /usr/local/share/man/man1")]
pub struct ManArgs {
    /// Write a page for each command into this directory [default: print the page of postrider itself].
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// Runs `postrider completions`.
pub fn completions(args: &CompletionsArgs) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "postrider", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}

/// Runs `postrider man`.
pub fn man(args: &ManArgs) -> Outcome {
    let failed = |error: std::io::Error| CommandError::new("cannot write the page", error);
    let Some(directory) = &args.directory else {
        let mut page = Vec::new();
        clap_mangen::Man::new(super::Cli::command()).render(&mut page).map_err(failed)?;
        print(&String::from_utf8_lossy(&page))?;
        return Ok(ExitCode::SUCCESS);
    };
    std::fs::create_dir_all(directory).map_err(failed)?;
    clap_mangen::generate_to(super::Cli::command(), directory).map_err(failed)?;
    say(&format!("wrote the pages into {}", directory.display()));
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_fits_together() {
        super::super::Cli::command().debug_assert();
    }

    #[test]
    fn each_command_has_a_page_and_a_completion() {
        let directory = tempfile::tempdir().expect("a directory");
        man(&ManArgs { directory: Some(directory.path().to_owned()) }).expect("pages");
        for page in ["postrider.1", "postrider-events-push.1", "postrider-deliveries-tail.1", "postrider-serve.1"] {
            let text = std::fs::read_to_string(directory.path().join(page)).expect(page);
            assert!(text.contains(".TH") && text.contains("postrider"), "{page}");
        }
        let mut script = Vec::new();
        clap_complete::generate(Shell::Bash, &mut super::super::Cli::command(), "postrider", &mut script);
        assert!(String::from_utf8_lossy(&script).contains("rotate-secret"));
    }
}
