//! The few shapes of SVG that the charts are made of, on a light background of their own, so that they can be read on
//! dark pages, too.

/// Text that says what is what, and text that may be overlooked.
pub(super) const INK: &str = "#1f2933";
pub(super) const FAINT: &str = "#616e7c";
/// Lines behind the data.
pub(super) const GRID: &str = "#e4e7eb";
/// What went wrong.
pub(super) const ALARM: &str = "#c81e1e";

/// The width of a character, at a font size of 1, on average.
const CHARACTER_WIDTH: f64 = 0.54;

/// A picture that grows.
#[derive(Debug)]
pub(super) struct Svg {
    width: f64,
    height: f64,
    body: String,
}

/// How a text looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Font {
    pub(super) size: f64,
    pub(super) colour: &'static str,
    pub(super) anchor: Anchor,
    pub(super) is_bold: bool,
}

/// Which part of a text lies at its place.
#[derive(Clone, Copy, Debug)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

impl Font {
    /// A text of this size that begins at its place.
    pub(super) const fn new(size: f64) -> Font {
        Font { size, colour: INK, anchor: Anchor::Start, is_bold: false }
    }

    pub(super) const fn bold(self) -> Font {
        Font { is_bold: true, ..self }
    }

    pub(super) const fn coloured(self, colour: &'static str) -> Font {
        Font { colour, ..self }
    }

    pub(super) const fn anchored(self, anchor: Anchor) -> Font {
        Font { anchor, ..self }
    }
}

impl Svg {
    /// An empty picture.
    pub(super) fn new(width: f64, height: f64) -> Svg {
        Svg { width, height, body: String::new() }
    }

    /// A filled box.
    pub(super) fn rect(&mut self, [x, y]: [f64; 2], [width, height]: [f64; 2], fill: &str) {
        self.body += &format!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{fill}\"/>\n"
        );
    }

    /// A straight line.
    pub(super) fn line(&mut self, from: [f64; 2], to: [f64; 2], colour: &str, width: f64) {
        self.path(&[from, to], colour, width, "");
    }

    /// A line through several points. `dashes` are lengths of dashes and gaps; empty for none.
    pub(super) fn path(&mut self, points: &[[f64; 2]], colour: &str, width: f64, dashes: &str) {
        let points: Vec<String> = points.iter().map(|[x, y]| format!("{x:.1},{y:.1}")).collect();
        let dashes =
            if dashes.is_empty() { String::new() } else { format!(" stroke-dasharray=\"{dashes}\"") };
        self.body += &format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\"{dashes}/>\n",
            points.join(" ")
        );
    }

    /// A filled disc.
    pub(super) fn disc(&mut self, [x, y]: [f64; 2], radius: f64, fill: &str) {
        self.body += &format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{fill}\"/>\n");
    }

    /// A text on this base line, in the colour of its font.
    pub(super) fn text(&mut self, at: [f64; 2], text: &str, font: Font) {
        self.text_in(at, text, font, font.colour);
    }

    /// A text in another colour.
    pub(super) fn text_in(&mut self, [x, y]: [f64; 2], text: &str, font: Font, colour: &str) {
        let Font { size, anchor, is_bold, .. } = font;
        let weight = if is_bold { " font-weight=\"600\"" } else { "" };
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        self.body += &format!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" fill=\"{colour}\"{weight}{anchor}>{}</text>\n",
            escaped(text)
        );
    }

    /// Lines of text, the first on the base line of `at`; the base line after the last.
    pub(super) fn lines(&mut self, [x, y]: [f64; 2], lines: &[String], font: Font) -> f64 {
        let mut base = y;
        for line in lines {
            self.text([x, base], line, font);
            base += font.size * LINE_HEIGHT;
        }
        base
    }

    /// The whole file.
    pub(super) fn finish(self) -> String {
        let Svg { width, height, body } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\" \
             font-family=\"system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', Helvetica, Arial, sans-serif\">\n\
             <rect width=\"{width:.0}\" height=\"{height:.0}\" rx=\"6\" fill=\"#fcfcfd\"/>\n{body}</svg>\n"
        )
    }
}

/// The distance of base lines at a font size of 1.
pub(super) const LINE_HEIGHT: f64 = 1.35;

/// About how wide a text is.
pub(super) fn text_width(text: &str, size: f64) -> f64 {
    text.chars().count() as f64 * CHARACTER_WIDTH * size
}

/// The text in lines that are at most so wide.
pub(super) fn wrapped(text: &str, width: f64, size: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if text_width(line, size) + text_width(word, size) + size < width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.into()),
        }
    }
    lines
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests;
