//! One line of a log: `<time> <stream> <P|F> <text>`.

/// Where a guest wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

/// The longest text of one line; what is longer is written in parts.
pub const LONGEST: usize = 16 << 10;

/// Cuts what one stream writes into lines.
#[derive(Debug)]
pub struct Cutter {
    stream: Stream,
    rest: Vec<u8>,
}

impl Cutter {
    /// For one stream of a run.
    pub fn new(stream: Stream) -> Cutter {
        Cutter { stream, rest: Vec::new() }
    }

    /// Appends to `out` every line that `chunk` completes; the rest waits for more.
    pub fn cut(&mut self, mut chunk: &[u8], now: &str, out: &mut Vec<u8>) {
        while let Some(end) = chunk.iter().position(|byte| *byte == b'\n') {
            self.take(&chunk[..end], now, out);
            self.emit("F", now, out);
            chunk = &chunk[end + 1..];
        }
        self.take(chunk, now, out);
    }

    /// Appends what is left without a line end.
    pub fn finish(&mut self, now: &str, out: &mut Vec<u8>) {
        if !self.rest.is_empty() {
            self.emit("F", now, out);
        }
    }

    fn take(&mut self, mut text: &[u8], now: &str, out: &mut Vec<u8>) {
        while self.rest.len() + text.len() > LONGEST {
            let (part, later) = text.split_at(LONGEST - self.rest.len());
            self.rest.extend_from_slice(part);
            self.emit("P", now, out);
            text = later;
        }
        self.rest.extend_from_slice(text);
    }

    fn emit(&mut self, tag: &str, now: &str, out: &mut Vec<u8>) {
        for part in [now, " ", self.stream.name(), " ", tag, " "] {
            out.extend_from_slice(part.as_bytes());
        }
        out.append(&mut self.rest);
        out.push(b'\n');
    }
}

/// A line read back.
#[derive(Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// When it was written, RFC 3339 with nanoseconds.
    pub time: &'a str,
    /// Whether the guest's line goes on in the next one.
    pub partial: bool,
    /// What the guest wrote.
    pub text: &'a [u8],
}

impl<'a> Line<'a> {
    /// Reads a line without its line end; `None` if it is damaged.
    pub fn parse(line: &'a [u8]) -> Option<Line<'a>> {
        let mut parts = line.splitn(4, |byte| *byte == b' ');
        let time = std::str::from_utf8(parts.next()?).ok()?;
        let _stream = parts.next()?;
        let partial = parts.next()? == b"P";
        Some(Line { time, partial, text: parts.next()? })
    }
}

/// This moment as a log line writes it.
pub fn now() -> String {
    format!("{:.9}", jiff::Timestamp::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_across_chunks() {
        let mut cutter = Cutter::new(Stream::Stdout);
        let mut out = Vec::new();
        cutter.cut(b"one\ntw", "t", &mut out);
        cutter.cut(b"o\n\nthree", "t", &mut out);
        assert_eq!(String::from_utf8_lossy(&out), "t stdout F one\nt stdout F two\nt stdout F \n");
        cutter.finish("t", &mut out);
        assert!(out.ends_with(b"t stdout F three\n"));
        assert_eq!(Line::parse(b"t stdout P a b"), Some(Line { time: "t", partial: true, text: b"a b" }));
        assert_eq!(Line::parse(b"t stdout F "), Some(Line { time: "t", partial: false, text: b"" }));
        assert_eq!(Line::parse(b"damaged"), None);
    }

    #[test]
    fn long_lines_come_in_parts() {
        let mut cutter = Cutter::new(Stream::Stderr);
        let mut out = Vec::new();
        cutter.cut(&vec![b'x'; 2 * LONGEST + 1], "t", &mut out);
        cutter.cut(b"\n", "t", &mut out);
        let lines: Vec<_> = out.split(|byte| *byte == b'\n').filter_map(Line::parse).collect();
        assert_eq!(
            lines.iter().map(|line| (line.partial, line.text.len())).collect::<Vec<_>>(),
            [(true, LONGEST), (true, LONGEST), (false, 1)]
        );
    }

    #[test]
    fn times_have_nanoseconds() {
        assert_eq!(now().len(), "2026-01-02T03:04:05.123456789Z".len());
    }
}
