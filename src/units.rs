//! Figures as people read them.

/// `84.3 %`.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// `+1.3`, in points.
pub(crate) fn points(difference: f64) -> String {
    format!("{:+.1}", difference * 100.0)
}

/// `512 B`, `1.5 GiB`.
pub(crate) fn size(bytes: u64) -> String {
    bytesize::ByteSize::b(bytes).display().iec().to_string()
}

/// `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `3d 4h`, two units at most.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = std::time::Duration::try_from_secs_f64(seconds.max(0.0).trunc());
    let whole = whole.unwrap_or_default();
    let text = humantime::format_duration(whole).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// A figure of a budget, which may be a share.
pub(crate) fn figure(figure: f64) -> String {
    if figure <= 1.0 { percent(figure) } else { format!("{figure:.1}") }
}

/// What stands in a log may do anything to a terminal.
pub(crate) fn harmless(text: &str, most: usize) -> String {
    let mut shown: String =
        text.chars().take(most).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(most).is_some() {
        shown.pop();
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_easily() {
        assert_eq!(
            (count(0), count(999), count(1_234_567)),
            ("0".into(), "999".into(), "1,234,567".into())
        );
        assert_eq!((percent(0.8434), points(-0.013)), ("84.3 %".into(), "-1.3".into()));
        assert_eq!(duration(93_784.0), "1day 2h");
        assert_eq!(
            (harmless("a\x1b[31mb", 20), harmless("abcdef", 3)),
            ("a\u{fffd}[31mb".into(), "ab…".into())
        );
    }
}
