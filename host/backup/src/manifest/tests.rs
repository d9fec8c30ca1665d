use super::*;

/// As the first release wrote it. It must be readable for ever: never change this file, add another.
const FIRST: &str = include_str!("format-1.json");

/// As the first release that encrypts wrote it.
const ENCRYPTED: &str = include_str!("format-2.json");

fn first() -> Manifest {
    Manifest::read("shop", FIRST.as_bytes(), &sha256(FIRST.as_bytes())).unwrap()
}

#[test]
fn a_manifest_of_the_first_format_is_read_and_written_as_it_was() {
    let manifest = first();
    assert_eq!(manifest.content.parts.len(), 2);
    assert_eq!(manifest.gtids.at_least.to_string(), "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-40");
    assert_eq!(manifest.text().unwrap().0, FIRST);
}

#[test]
fn what_a_later_release_adds_is_ignored_and_what_it_changes_is_refused() {
    let mut value: serde_json::Value = serde_json::from_str(FIRST).unwrap();
    value["verification"] = serde_json::json!({ "kind": "none" });
    value["content"]["parts"][0]["crc"] = 7.into();
    let text = value.to_string();
    assert_eq!(Manifest::read("shop", text.as_bytes(), &sha256(text.as_bytes())).unwrap(), first());

    value["format"] = 4.into();
    let text = value.to_string();
    let refused = Manifest::read("shop", text.as_bytes(), &sha256(text.as_bytes()));
    assert!(matches!(refused, Err(Error::Format { found: 4, .. })), "{refused:?}");
}

#[test]
fn an_encrypted_one_says_for_whom_and_is_of_a_format_that_those_without_keys_refuse() {
    let recipients = ["age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj".to_owned()].to_vec();
    let encryption = Some(Encryption { method: encryption::Method::Age, recipients });
    let format = super::format(Method::Clone, encryption.as_ref());
    let text = Manifest { format, encryption, ..first() }.text().unwrap().0;
    assert_eq!(text, ENCRYPTED);
    let found = Manifest::read("shop", ENCRYPTED.as_bytes(), &sha256(ENCRYPTED.as_bytes())).unwrap();
    assert_eq!((found.format, found.encryption.is_some()), (2, true));
    assert_eq!(
        (super::format(Method::Clone, None), super::format(Method::Logical, None)),
        (1, 3),
        "whoever reads those of the first release reads what is not encrypted, and no logical ones"
    );
}

#[test]
fn one_flipped_bit_anywhere_in_it_or_in_its_checksum_is_found() {
    let sum = format!("{}  manifest.json\n", sha256(FIRST.as_bytes()));
    for bit in 0..FIRST.len() * 8 {
        let mut text = FIRST.as_bytes().to_vec();
        text[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(Manifest::read("shop", &text, &sum), Err(Error::Damaged { .. })), "bit {bit}");
    }
    for bit in 0..64 * 8 {
        let mut flipped = sum.clone().into_bytes();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let flipped = String::from_utf8_lossy(&flipped).into_owned();
        assert!(matches!(Manifest::read("shop", FIRST.as_bytes(), &flipped), Err(Error::Damaged { .. })), "bit {bit}");
    }
}

#[test]
fn data_is_started_only_by_a_server_of_its_series() {
    let manifest = first();
    assert!(manifest.fits("9.7.9-debian", 0).is_ok());
    assert!(manifest.fits("8.4.13", 0).unwrap_err().contains("same series"));
    assert!(manifest.fits("9.7.4", 1).unwrap_err().contains("lowerCaseTableNames to 0"));
}

#[test]
fn a_server_on_the_data_has_what_is_promised_and_nothing_else() {
    let manifest = first();
    let set = |last: u32| format!("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-{last}").parse::<GtidSet>().unwrap();
    assert!(manifest.holds(&set(39)).unwrap_err().contains("lacks 3e11fa47-71ca-11e1-9e33-c80aa9429562:40"));
    assert!([40, 41, 42].iter().all(|last| manifest.holds(&set(*last)).is_ok()));
    assert!(manifest.holds(&set(43)).unwrap_err().contains("does not know"));
}
