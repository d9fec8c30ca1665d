//! Kubernetes quantities as numbers: `10Gi` as bytes, `500m` as thousandths of a CPU.
//!
//! Exact and without floats. What does not parse, or does not fit, is `None`; never a guess.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Quantities are exact to a thousandth; smaller parts are rounded up, as Kubernetes does.
const MILLI: u128 = 1000;

/// The whole units of a quantity, rounded up: bytes for memory and storage.
pub fn units(quantity: &str) -> Option<u64> {
    u64::try_from(millis(quantity)?.div_ceil(MILLI)).ok()
}

/// The thousandths of a quantity, rounded up: millicores for CPU.
pub fn millis(quantity: &str) -> Option<u128> {
    let digits_end = quantity.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(quantity.len());
    let (number, suffix) = quantity.split_at(digits_end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || number.len() > 20 {
        return None;
    }
    let mantissa: u128 = format!("{whole}{fraction}").parse().ok()?;
    let (numerator, denominator) = factor(suffix)?;
    let divisor = 10u128.checked_pow(u32::try_from(fraction.len()).ok()?)?.checked_mul(denominator)?;
    Some(mantissa.checked_mul(numerator)?.checked_mul(MILLI)?.div_ceil(divisor))
}

/// What a suffix multiplies with, as a fraction.
fn factor(suffix: &str) -> Option<(u128, u128)> {
    let decimal = |exponent: u32| 10u128.checked_pow(exponent);
    Some(match suffix {
        "" => (1, 1),
        "n" => (1, 1_000_000_000),
        "u" => (1, 1_000_000),
        "m" => (1, 1000),
        "k" => (1000, 1),
        "M" => (decimal(6)?, 1),
        "G" => (decimal(9)?, 1),
        "T" => (decimal(12)?, 1),
        "P" => (decimal(15)?, 1),
        "E" => (decimal(18)?, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            let size = 10u128.checked_pow(exponent.unsigned_abs().min(40))?;
            if exponent < 0 { (1, size) } else { (size, 1) }
        }
    })
}

/// See [`units`].
pub fn units_of(quantity: &Quantity) -> Option<u64> {
    units(&quantity.0)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("10Gi", Some(10 << 30))]
    #[case("1.5Gi", Some(3 << 29))]
    #[case("500M", Some(500_000_000))]
    #[case("0", Some(0))]
    #[case("1e3", Some(1000))]
    #[case("2E", Some(2_000_000_000_000_000_000))]
    #[case("100m", Some(1))]
    #[case(".5Ki", Some(512))]
    #[case("", None)]
    #[case(".", None)]
    #[case("ten", None)]
    #[case("10GB", None)]
    #[case("10 Gi", None)]
    #[case("-1", None)]
    #[case("1.2.3", None)]
    #[case("99999999999999999999E", None)]
    #[case("1e99", None)]
    fn whole_units(#[case] text: &str, #[case] expected: Option<u64>) {
        assert_eq!(units(text), expected);
    }

    #[rstest]
    #[case("250m", Some(250))]
    #[case("2", Some(2000))]
    #[case("0.1", Some(100))]
    #[case("1n", Some(1))]
    fn thousandths(#[case] text: &str, #[case] expected: Option<u128>) {
        assert_eq!(millis(text), expected);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in ".{0,24}") {
            let _ = millis(&text);
        }
    }
}
