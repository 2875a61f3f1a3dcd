//! `seawall reload`: has a running node read its configuration again.

use http::StatusCode;
use serde::Deserialize;

use crate::ask::{self, AskError};
use crate::cli::Reload;

/// What `POST /reload` answers when all is well.
#[derive(Debug, Deserialize)]
struct Reloaded {
    generation: u64,
    changed: Vec<String>,
    needs_restart: Vec<String>,
}

/// What it answers when the new configuration is not taken.
#[derive(Debug, Deserialize)]
struct NotReloaded {
    report: String,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was taken, says the sentence.
    Taken(String),
    /// It was not; the report says why.
    Refused(String),
}

/// Does it.
pub(crate) fn run(reload: &Reload) -> Result<Outcome, AskError> {
    let (status, answer) = ask::post(&reload.access, "/reload", Vec::new())?;
    outcome(status, &answer)
}

fn outcome(status: StatusCode, answer: &[u8]) -> Result<Outcome, AskError> {
    match status {
        StatusCode::OK => {
            let reloaded = serde_json::from_slice(answer).map_err(|_| AskError::Strange)?;
            Ok(Outcome::Taken(sentence(&reloaded)))
        }
        StatusCode::UNPROCESSABLE_ENTITY => {
            let refused: NotReloaded =
                serde_json::from_slice(answer).map_err(|_| AskError::Strange)?;
            let is_shown = |letter: &char| *letter == '\n' || !letter.is_control();
            let report: String = refused.report.chars().filter(is_shown).collect();
            Ok(Outcome::Refused(format!(
                "{report}\nnot reloaded: the old configuration is in force"
            )))
        }
        status => Err(AskError::Refused { status, why: ask::printable(answer) }),
    }
}

fn sentence(reloaded: &Reloaded) -> String {
    let Reloaded { generation, changed, needs_restart } = reloaded;
    let changed = match changed.as_slice() {
        [] => "nothing has changed".to_owned(),
        changed => format!("changed: {}", changed.join(", ")),
    };
    let mut said = format!("reloaded (configuration {generation}); {changed}");
    if !needs_restart.is_empty() {
        said = format!("{said}\nneeds a restart: {}", needs_restart.join(", "));
    }
    said.chars().filter(|letter| *letter == '\n' || !letter.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_of_it_is_said() {
        let taken = br#"{"generation":3,"changed":["[[rule]]","[trust]"],"needs_restart":[]}"#;
        let said = "reloaded (configuration 3); changed: [[rule]], [trust]".to_owned();
        assert_eq!(outcome(StatusCode::OK, taken).unwrap(), Outcome::Taken(said));
        let taken = br#"{"generation":4,"changed":[],"needs_restart":["[server] threads"]}"#;
        let said = "reloaded (configuration 4); nothing has changed\n\
                    needs a restart: [server] threads";
        assert_eq!(outcome(StatusCode::OK, taken).unwrap(), Outcome::Taken(said.to_owned()));
        let refused = br#"{"faults":[],"report":"error:\u001b[1m no\n --> a.toml:1"}"#;
        let Outcome::Refused(said) = outcome(StatusCode::UNPROCESSABLE_ENTITY, refused).unwrap()
        else {
            panic!("taken");
        };
        assert!(said.starts_with("error:[1m no\n --> a.toml:1\nnot reloaded"), "{said}");
        assert!(matches!(outcome(StatusCode::OK, b"<html>"), Err(AskError::Strange)));
    }
}
