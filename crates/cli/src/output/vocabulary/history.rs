//! Steps of images' making.

use bulkhead_api::image::HistoryStep;
use serde::Serialize;
use serde_json::{Value, json};

use super::image::SHORT_ID_LENGTH;
use super::{Templated, size, time};
use crate::output::render::Listed;

/// In place of the id of what is no image of its own.
const NO_ID: &str = "<missing>";
/// As much of a command as Docker shows.
const COMMAND_LENGTH: usize = 45;

/// A step and how it is to be shown.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct HistoryRow {
    #[serde(flatten)]
    step: HistoryStep,
    #[serde(skip)]
    shown_id: String,
    #[serde(skip)]
    in_full: bool,
    #[serde(skip)]
    for_people: bool,
}

impl HistoryRow {
    /// `in_full`: nothing is cut. `for_people`: else sizes and times are for programs.
    pub(crate) fn new(step: HistoryStep, in_full: bool, for_people: bool) -> Self {
        let shown_id = match &step.id {
            None => NO_ID.to_owned(),
            Some(id) if in_full => format!("sha256:{id}"),
            Some(id) => id.get(..SHORT_ID_LENGTH).unwrap_or(id).to_owned(),
        };
        Self { step, shown_id, in_full, for_people }
    }

    fn created_by(&self) -> String {
        let command = self.step.created_by.replace('\t', " ");
        if self.in_full || command.chars().count() <= COMMAND_LENGTH {
            return command;
        }
        command.chars().take(COMMAND_LENGTH - 1).chain(['…']).collect()
    }

    fn created(&self) -> String {
        let created = self.step.created.as_deref().unwrap_or_default();
        if self.for_people { time::ago(created) } else { created.to_owned() }
    }

    fn size(&self) -> String {
        if self.for_people { size(self.step.size) } else { self.step.size.to_string() }
    }
}

impl Listed for HistoryRow {
    const HEADER: &'static [&'static str] = &["IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT"];

    fn row(&self) -> Vec<String> {
        let comment = self.step.comment.clone();
        vec![self.shown_id.clone(), self.created(), self.created_by(), self.size(), comment]
    }

    fn id(&self) -> &str {
        &self.shown_id
    }
}

impl Templated for HistoryRow {
    fn examples() -> Vec<Self> {
        let text = || Some(String::new());
        let step = HistoryStep {
            id: text(),
            created: text(),
            created_by: String::new(),
            size: 0,
            comment: String::new(),
        };
        vec![Self::new(step, false, true)]
    }

    fn words(&self) -> Value {
        json!({
            "ID": self.shown_id,
            "CreatedSince": self.created(),
            "CreatedAt": self.step.created,
            "CreatedBy": self.created_by(),
            "Size": self.size(),
            "Comment": self.step.comment,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_cut_unless_all_is_wanted() {
        let step = HistoryStep {
            id: Some("0123456789abcdef".repeat(4)),
            created: Some("2026-01-02T03:04:05Z".to_owned()),
            created_by: format!("RUN\t{}", "x".repeat(60)),
            size: 12_345_678,
            comment: "c".to_owned(),
        };
        let row = HistoryRow::new(step, false, false);
        let cut = format!("RUN {}…", "x".repeat(40));
        assert_eq!(row.row(), ["0123456789ab", "2026-01-02T03:04:05Z", cut.as_str(), "12345678", "c"]);
        let row = HistoryRow::new(row.step, true, true);
        assert_eq!(row.row()[0].len(), 71);
        assert_eq!(row.row()[2].len(), 64);
        assert_eq!(row.row()[3], "12.3MB");
        let base = HistoryRow::new(HistoryStep { id: None, ..row.step }, true, true);
        assert_eq!(base.id(), "<missing>");
    }
}
