//! What is shown on a terminal: colours where they are wanted, and a bar that fits and goes away.

#![cfg(target_os = "linux")]

mod common;

use common::output;
use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_softmargin");

/// What the program writes to a terminal of so many columns; none where there is no `script` to make one.
fn on_terminal(arguments: &str, columns: u16, no_color: &str) -> Option<String> {
    let line = format!("stty cols {columns} rows 24; {PROGRAM} {arguments}");
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    let output = command.env("TERM", "xterm-256color").env("NO_COLOR", no_color).output();
    if output.is_err() {
        eprintln!("skipped: there is no `script` to make a terminal");
    }
    output.ok().map(|output| String::from_utf8(output.stdout).expect("UTF-8"))
}

/// On a terminal, help and errors are coloured, unless the user wants no colours; elsewhere they never are.
#[test]
fn colours_are_for_terminals_that_want_them() {
    for arguments in ["--help", "train --bad", "evaluate --model nowhere", "train --max-iter 3"] {
        let Some(plain) = on_terminal(arguments, 80, "1") else { return };
        assert!(!sets_colours(&plain), "{plain:?}");
    }
    let Some(help) = on_terminal("--help", 80, "") else { return };
    assert!(sets_colours(&help), "no terminal was made");
    let piped = output(&["--help"]);
    assert!(!piped.contains('\u{1b}'));
}

/// Whether there is an escape sequence that ends in `m`.
fn sets_colours(text: &str) -> bool {
    text.split("\u{1b}[").skip(1).any(|rest| {
        rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m')
    })
}

/// A terminal of some columns, as far as the program makes use of one: what its lines show in the end, and how long
/// the longest one ever was.
fn screen(text: &str, columns: usize) -> (Vec<String>, usize) {
    let (mut lines, mut row, mut column, mut longest) = (vec![Vec::new()], 0, 0, 0);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\r' => column = 0,
            '\n' => row += 1,
            '\u{1b}' => {
                assert_eq!(rest.next(), Some('['), "an unknown escape sequence in {text:?}");
                let mut number = String::new();
                let command = loop {
                    match rest.next().expect("a command") {
                        c if c.is_ascii_alphabetic() => break c,
                        c => number.push(c),
                    }
                };
                match command {
                    'A' => row -= number.parse().unwrap_or(1).min(row),
                    'B' => row += number.parse().unwrap_or(1),
                    'K' if number == "2" => lines[row].clear(),
                    'K' => lines[row].truncate(column),
                    'm' => {}
                    other => panic!("an unknown command {number}{other} in {text:?}"),
                }
            }
            c => {
                if column == columns {
                    (row, column) = (row + 1, 0);
                }
                while lines.len() <= row {
                    lines.push(Vec::new());
                }
                let line = &mut lines[row];
                line.resize(line.len().max(column + 1), ' ');
                line[column] = c;
                column += 1;
                longest = longest.max(column);
            }
        }
        while lines.len() <= row {
            lines.push(Vec::new());
        }
    }
    (lines.into_iter().map(|line| line.into_iter().collect()).collect(), longest)
}

/// One line that fits, and in the end only the result.
#[test]
fn the_bar_fits_and_leaves_nothing_behind() {
    for columns in [40, 80, 200] {
        let arguments = "train --json --solver sgd --epochs 40";
        let Some(text) = on_terminal(arguments, columns, "1") else { return };
        assert!(text.contains("/40"), "no bar at {columns} columns: {text:?}");
        // The lines before the object, which is longer than the terminal is wide.
        let (bar, object) = text.split_once('{').expect("an object");
        let (lines, longest) = screen(bar, columns.into());
        assert!(longest <= columns.into(), "{longest} of {columns} columns");
        assert!(lines.iter().all(|line| line.trim().is_empty()), "left behind: {lines:?}");
        assert!(lines.len() <= 2, "the bar took {} lines", lines.len());
        assert!(object.contains("max_iterations"), "{object}");
    }
}
