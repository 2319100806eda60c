//! Pages to print: SVG, A4, black on white, with a QR code beside the text it repeats. Pure: text in, text out.

use qrcode::{Color, EcLevel, QrCode};
use zeroize::Zeroizing;

/// Where the text of a secret stands, for [`secret_of`].
const SECRET_CLASS: &str = "class=\"secret\"";
/// Where the lines of a file stand, for [`file_of`].
const FILE_CLASS: &str = "class=\"file\"";
const LEFT_MM: usize = 18;
/// Characters of the text face that fit on a line.
const TEXT_CHARS: usize = 80;
/// Groups of a code on one line.
const ROW_GROUPS: usize = 5;

/// What stands on a page.
#[derive(Debug, Clone)]
pub struct Page {
    /// In large letters.
    pub title: String,
    /// Who keeps it and where.
    pub keeper: String,
    /// What it opens.
    pub opens: String,
    /// Names and values: fingerprints, dates, numbers.
    pub facts: Vec<(String, String)>,
    /// The text that is kept.
    pub kept: Kept,
    /// What to do on the day, in order.
    pub steps: Vec<String>,
}

/// The text that a page keeps; also in its QR code.
#[derive(Clone)]
pub enum Kept {
    /// A share or passphrase: groups with dashes between.
    Secret(Zeroizing<String>),
    /// A whole file, such as an encrypted key.
    File(Zeroizing<String>),
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Kept")
    }
}

/// The text is longer than a QR code can hold.
#[derive(Debug, thiserror::Error)]
#[error("a page cannot hold a QR code of {0} bytes")]
pub struct PageError(usize);

impl Page {
    /// The page as SVG.
    ///
    /// # Errors
    /// [`PageError`]
    pub fn to_svg(&self) -> Result<Zeroizing<String>, PageError> {
        let mut sheet = Sheet::new();
        sheet.line("title", &self.title, 11);
        sheet.gap(3);
        for (name, value) in [("Kept by", &self.keeper), ("Opens", &self.opens)] {
            sheet.paragraph(&format!("{name}: {value}"));
        }
        sheet.gap(2);
        for (name, value) in &self.facts {
            sheet.line("fact", &format!("{name}: {value}"), 5);
        }
        sheet.gap(4);
        let (text, correction, millimetres) = match &self.kept {
            Kept::Secret(text) => (text, EcLevel::Q, 62),
            Kept::File(text) => (text, EcLevel::L, 72),
        };
        match &self.kept {
            Kept::Secret(text) => rows(text).iter().for_each(|row| sheet.line("secret", row, 8)),
            Kept::File(text) => text.lines().for_each(|line| sheet.line("file", line, 4)),
        }
        sheet.qr(text, correction, millimetres)?;
        sheet.gap(3);
        sheet.line("head", "On the day", 7);
        for (number, step) in (1..).zip(&self.steps) {
            sheet.paragraph(&format!("{number}. {step}"));
        }
        Ok(sheet.finish())
    }
}

/// The secret that stands on a page of ours; `None` when the text is no page with one.
#[must_use]
pub fn secret_of(svg: &str) -> Option<Zeroizing<String>> {
    if !svg.trim_start().starts_with("<svg") {
        return None;
    }
    let mut found = Zeroizing::new(String::new());
    for part in svg.split(SECRET_CLASS).skip(1) {
        let text = part.split_once('>')?.1.split_once("</text>")?.0;
        found.push_str(text);
    }
    (!found.is_empty()).then_some(found)
}

/// The file that stands on a page of ours; `None` when the text is no page with one.
#[must_use]
pub fn file_of(svg: &str) -> Option<Zeroizing<String>> {
    let mut found = Zeroizing::new(String::new());
    for part in svg.split(FILE_CLASS).skip(1) {
        found.push_str(part.split_once('>')?.1.split_once("</text>")?.0);
        found.push('\n');
    }
    (!found.is_empty()).then_some(found)
}

/// A code in rows; the dash at a row's end says that it goes on.
fn rows(text: &str) -> Vec<Zeroizing<String>> {
    let groups: Vec<&str> = text.split_inclusive('-').collect();
    groups
        .chunks(ROW_GROUPS)
        .map(|row| Zeroizing::new(row.concat()))
        .collect()
}

struct Sheet {
    body: Zeroizing<String>,
    y: usize,
}

impl Sheet {
    fn new() -> Self {
        Self {
            body: Zeroizing::new(String::with_capacity(64 * 1024)),
            y: 14,
        }
    }

    fn gap(&mut self, millimetres: usize) {
        self.y += millimetres;
    }

    fn line(&mut self, class: &str, text: &str, height: usize) {
        self.y += height;
        let text = Zeroizing::new(escaped(text));
        let opening = format!(
            "<text class=\"{class}\" x=\"{LEFT_MM}\" y=\"{}\" xml:space=\"preserve\">",
            self.y
        );
        for part in [opening.as_str(), &text, "</text>\n"] {
            self.body.push_str(part);
        }
    }

    fn paragraph(&mut self, text: &str) {
        for line in wrapped(text) {
            self.line("text", &line, 5);
        }
        self.y += 1;
    }

    fn qr(&mut self, text: &str, correction: EcLevel, millimetres: usize) -> Result<(), PageError> {
        // Nobody likes a code that cannot be made: with less correction more fits.
        let code = QrCode::with_error_correction_level(text, correction)
            .or_else(|_| QrCode::with_error_correction_level(text, EcLevel::L))
            .map_err(|_| PageError(text.len()))?;
        self.y += 5;
        let width = code.width();
        let opening = format!(
            "<svg class=\"qr\" x=\"{LEFT_MM}\" y=\"{}\" width=\"{millimetres}\" height=\"{millimetres}\" viewBox=\"-4 -4 {side} {side}\" \
             shape-rendering=\"crispEdges\"><path d=\"",
            self.y,
            side = width + 8,
        );
        self.body.push_str(&opening);
        let colors = code.to_colors();
        for (y, row) in colors.chunks(width).enumerate() {
            for (x, _) in row.iter().enumerate().filter(|(_, color)| **color == Color::Dark) {
                for part in ["M", &x.to_string(), " ", &y.to_string(), "h1v1h-1z"] {
                    self.body.push_str(part);
                }
            }
        }
        self.body.push_str("\"/></svg>\n");
        self.y += millimetres;
        Ok(())
    }

    fn finish(self) -> Zeroizing<String> {
        Zeroizing::new(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"210mm\" height=\"297mm\" viewBox=\"0 0 210 297\">\n<style>\n\
             text {{ font-family: sans-serif; font-size: 3.7px; fill: #000 }}\n\
             .title {{ font-size: 7px; font-weight: bold }}\n.head {{ font-size: 4.6px; font-weight: bold }}\n\
             .fact {{ font-family: monospace; font-size: 3.4px }}\n\
             .secret {{ font-family: monospace; font-size: 6.4px; font-weight: bold }}\n\
             .file {{ font-family: monospace; font-size: 3.6px }}\n</style>\n\
             <rect width=\"210\" height=\"297\" fill=\"#fff\"/>\n{}</svg>\n",
            *self.body
        ))
    }
}

/// Text as XML shows it; control characters, which XML cannot hold, are left out.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars().filter(|c| !c.is_control()) {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let full = lines
            .last()
            .is_some_and(|line| !line.is_empty() && line.chars().count() + word.chars().count() >= TEXT_CHARS);
        if full {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(title: &str, kept: Kept) -> Page {
        Page {
            title: title.to_owned(),
            keeper: "<b>\"Ada\" & 'Bob'\u{1b}[0m</b>".to_owned(),
            opens: "doors ".repeat(40),
            facts: vec![("fingerprint".to_owned(), "SHA256:abc".to_owned())],
            kept,
            steps: vec!["Type it.".to_owned()],
        }
    }

    #[test]
    fn what_people_wrote_stays_text() {
        let text = "SGS1-ABCDE-FGHJK-MNPQR-STVWX-YZ012-34567";
        let svg = page(
            "<script>alert(1)</script>",
            Kept::Secret(Zeroizing::new(text.to_owned())),
        )
        .to_svg()
        .unwrap();
        assert!(!svg.contains("<script>") && !svg.contains("<b>") && !svg.contains('\u{1b}'));
        assert!(svg.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
        assert!(svg.contains("&quot;Ada&quot; &amp; &#39;Bob&#39;"));
        assert_eq!(*secret_of(&svg).unwrap(), text);
    }

    #[test]
    fn a_page_of_a_file_has_no_secret_to_read() {
        let kept = Kept::File(Zeroizing::new("-----BEGIN\nabc\n".to_owned()));
        assert_eq!(secret_of(&page("key", kept).to_svg().unwrap()), None);
        assert_eq!(secret_of("SGS1-ABCDE"), None);
        let too_long = Kept::File(Zeroizing::new("x".repeat(3000)));
        assert!(page("key", too_long).to_svg().is_err());
    }
}
