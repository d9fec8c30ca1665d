//! Durations as people write them: `5s`, `500ms`, `1m30s`.

use std::time::Duration;

/// A duration, or `None` for what is not one.
pub fn parse(text: &str) -> Option<Duration> {
    sum(text, |unit| match unit {
        "ms" => Some(Duration::from_millis(1)),
        "s" => Some(Duration::from_secs(1)),
        "m" => Some(Duration::from_secs(60)),
        "h" => Some(Duration::from_secs(3600)),
        _ => None,
    })
}

/// A longer one, in days and weeks as well: `14d`, `2w`, `1d12h`. A day has 24 hours.
pub fn parse_long(text: &str) -> Option<Duration> {
    sum(text, |unit| match unit {
        "s" => Some(Duration::from_secs(1)),
        "m" => Some(Duration::from_secs(60)),
        "h" => Some(Duration::from_secs(3600)),
        "d" => Some(Duration::from_secs(24 * 3600)),
        "w" => Some(Duration::from_secs(7 * 24 * 3600)),
        _ => None,
    })
}

fn sum(text: &str, length: impl Fn(&str) -> Option<Duration>) -> Option<Duration> {
    if text.is_empty() {
        return None;
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u32 = rest[..number_end].parse().ok()?;
        let after = &rest[number_end..];
        let unit_end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let unit = length(&after[..unit_end])?;
        total = total.checked_add(unit.checked_mul(number)?)?;
        rest = &after[unit_end..];
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("5s", Some(5000))]
    #[case("500ms", Some(500))]
    #[case("1m30s", Some(90_000))]
    #[case("2h", Some(7_200_000))]
    #[case("0s", Some(0))]
    #[case("5", None)]
    #[case("s", None)]
    #[case("5 s", None)]
    #[case("5d", None)]
    #[case("-5s", None)]
    #[case("", None)]
    #[case("99999999999s", None)]
    fn milliseconds(#[case] text: &str, #[case] expected: Option<u64>) {
        assert_eq!(parse(text), expected.map(Duration::from_millis));
    }
    #[rstest]
    #[case("14d", Some(14 * 86_400))]
    #[case("2w", Some(14 * 86_400))]
    #[case("1d12h", Some(36 * 3600))]
    #[case("90s", Some(90))]
    #[case("500ms", None)]
    #[case("14", None)]
    #[case("1y", None)]
    fn days_and_weeks(#[case] text: &str, #[case] expected: Option<u64>) {
        assert_eq!(parse_long(text), expected.map(Duration::from_secs));
    }
}
