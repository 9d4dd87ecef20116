//! Tables: every column but the last is as wide as its widest cell and two spaces.

use super::escape;

const GAP: usize = 2;

/// Without a newline at the end.
pub(super) fn render(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut lines: Vec<Vec<String>> = vec![header.iter().map(|cell| (*cell).to_owned()).collect()];
    lines.extend(rows.iter().map(|row| row.iter().map(|cell| escape::text(cell).into_owned()).collect()));
    let widths: Vec<usize> = (0..header.len())
        .map(|column| {
            lines.iter().filter_map(|line| line.get(column)).map(|cell| width(cell)).max().unwrap_or(0)
        })
        .collect();
    let text: Vec<String> = lines.iter().map(|line| render_line(line, &widths)).collect();
    text.join("\n")
}

fn render_line(cells: &[String], widths: &[usize]) -> String {
    let mut text = String::new();
    for (index, cell) in cells.iter().enumerate() {
        text.push_str(cell);
        if index + 1 < cells.len() {
            let padding = widths[index] + GAP - width(cell);
            text.extend(std::iter::repeat_n(' ', padding));
        }
    }
    text
}

fn width(cell: &str) -> usize {
    cell.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_column_is_not_padded() {
        let rows = [vec!["a".to_owned(), "x".to_owned()], vec!["longer".to_owned(), String::new()]];
        assert_eq!(render(&["ID", "NAME"], &rows), "ID      NAME\na       x\nlonger  ");
        assert_eq!(render(&["ID", "NAME"], &[]), "ID  NAME");
    }

    #[test]
    fn f85_a_cell_stays_on_its_line() {
        assert_eq!(render(&["ID"], &[vec!["a\nb\u{1b}[2J".to_owned()]]), "ID\na\\nb\\u{1b}[2J");
    }
}
