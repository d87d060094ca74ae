//! What a terminal does between a person and a program: lines are edited and echoed before the program reads them,
//! and its output begins each line at the left.
//!
//! The person's own terminal passes every key on as it is. Programs of WASI cannot ask for that, so there is no raw
//! mode, and none learns how large the window is.

/// The longest line; what is typed beyond it is not taken.
const LONGEST: usize = 4096;

/// Takes the last letter off the screen.
const ERASE: &[u8] = b"\x08 \x08";

/// What a person wants of the program beside reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Ctrl-C: it should end.
    Interrupt,
    /// Ctrl-D: nothing more comes.
    End,
}

/// What keys amount to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Typed {
    /// For the program.
    pub input: Vec<u8>,
    /// For the screen.
    pub echo: Vec<u8>,
    /// The last thing wished; keys after it are not taken.
    pub wish: Option<Wish>,
}

/// A terminal with the line that is being typed.
#[derive(Debug, Default)]
pub struct Terminal {
    line: Vec<u8>,
}

impl Terminal {
    /// Takes keys.
    pub fn press(&mut self, keys: &[u8]) -> Typed {
        let mut typed = Typed::default();
        for key in keys {
            match key {
                b'\r' | b'\n' => {
                    typed.echo.extend(b"\r\n");
                    self.line.push(b'\n');
                    typed.input.append(&mut self.line);
                }
                0x7f | 0x08 => self.erase(&mut typed),
                // Ctrl-U: the whole line.
                0x15 => {
                    while !self.line.is_empty() {
                        self.erase(&mut typed);
                    }
                }
                0x03 => {
                    typed.echo.extend(b"^C\r\n");
                    self.line.clear();
                    typed.wish = Some(Wish::Interrupt);
                    return typed;
                }
                // Ctrl-D passes on what there is; when there is nothing, that is the end.
                0x04 if self.line.is_empty() => {
                    typed.wish = Some(Wish::End);
                    return typed;
                }
                0x04 => typed.input.append(&mut self.line),
                _ if self.line.len() >= LONGEST => {}
                0..0x20 if *key != b'\t' => {
                    typed.echo.extend([b'^', key + b'@']);
                    self.line.push(*key);
                }
                key => {
                    typed.echo.push(*key);
                    self.line.push(*key);
                }
            }
        }
        typed
    }

    fn erase(&mut self, typed: &mut Typed) {
        // The whole of a letter, however many bytes it has.
        while let Some(byte) = self.line.pop() {
            if byte & 0xc0 != 0x80 {
                let width = if byte < 0x20 && byte != b'\t' { 2 } else { 1 };
                (0..width).for_each(|_| typed.echo.extend(ERASE));
                return;
            }
        }
    }
}

/// A program's output as a terminal shows it.
pub fn shown(output: &[u8]) -> Vec<u8> {
    let mut shown = Vec::with_capacity(output.len() + 16);
    for byte in output {
        if *byte == b'\n' {
            shown.push(b'\r');
        }
        shown.push(*byte);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        for (keys, input, echo, wish) in [
            ("ls\r", "ls\n", "ls\r\n", None),
            ("lx\x7fs\r", "ls\n", "lx\x08 \x08s\r\n", None),
            ("aé\x7f\x7f\x7fb\n", "b\n", "aé\x08 \x08\x08 \x08b\r\n", None),
            ("ab\x15c\r", "c\n", "ab\x08 \x08\x08 \x08c\r\n", None),
            ("\x01\x7f\r", "\n", "^A\x08 \x08\x08 \x08\r\n", None),
            ("half", "", "half", None),
            ("half\x04", "half", "half", None),
            ("one\r\x04two", "one\n", "one\r\n", Some(Wish::End)),
            ("x\x03y", "", "x^C\r\n", Some(Wish::Interrupt)),
        ] {
            let typed = Terminal::default().press(keys.as_bytes());
            let expected = Typed { input: input.into(), echo: echo.into(), wish };
            assert_eq!(typed, expected, "{keys:?}");
        }
    }

    #[test]
    fn a_line_is_kept_until_its_end_and_has_a_longest_length() {
        let mut terminal = Terminal::default();
        assert_eq!(terminal.press(b"a").input, b"");
        assert_eq!(terminal.press(b"b\r").input, b"ab\n");
        assert_eq!(terminal.press(&[b'x'; LONGEST + 10]).echo.len(), LONGEST);
        assert_eq!(terminal.press(b"\r").input.len(), LONGEST + 1);
    }

    #[test]
    fn lines_begin_at_the_left() {
        assert_eq!(shown(b"a\nb"), b"a\r\nb");
    }
}
