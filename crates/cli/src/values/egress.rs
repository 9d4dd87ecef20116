//! `--egress none` and `--egress allow=DESTINATION`

use std::str::FromStr;

use bulkhead_api::egress::{EgressPolicy, EgressRule};

use super::{InvalidValue, invalid};

/// One flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EgressFlag {
    /// Nothing.
    None,
    /// One destination more.
    Allow(EgressRule),
}

impl FromStr for EgressFlag {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        match text.split_once('=') {
            None if text == "none" => Ok(Self::None),
            Some(("allow", rule)) => match rule.parse() {
                Ok(rule) => Ok(Self::Allow(rule)),
                Err(error) => invalid(format!("{error}")),
            },
            _ => invalid("expected none or allow=DESTINATION"),
        }
    }
}

/// What all flags say together; no flag: no policy.
pub(crate) fn policy(flags: &[EgressFlag]) -> Result<Option<EgressPolicy>, InvalidValue> {
    let allow: Vec<EgressRule> = flags
        .iter()
        .filter_map(|flag| match flag {
            EgressFlag::None => None,
            EgressFlag::Allow(rule) => Some(rule.clone()),
        })
        .collect();
    if flags.contains(&EgressFlag::None) && !allow.is_empty() {
        return invalid("--egress none cannot be combined with --egress allow=…");
    }
    Ok((!flags.is_empty()).then_some(EgressPolicy { allow }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_make_a_policy() {
        let policy = |texts: &[&str]| {
            let flags: Result<Vec<EgressFlag>, _> = texts.iter().map(|text| text.parse()).collect();
            policy(&flags.unwrap())
        };
        assert_eq!(policy(&[]).unwrap(), None);
        assert_eq!(policy(&["none"]).unwrap().unwrap().allow.len(), 0);
        assert_eq!(policy(&["allow=example.org:443", "allow=10.0.0.0/8"]).unwrap().unwrap().allow.len(), 2);
        assert!(policy(&["none", "allow=example.org"]).is_err());
        for text in ["", "allow", "allow=", "deny=x", "None", "allow=x:0"] {
            assert!(text.parse::<EgressFlag>().is_err(), "{text}");
        }
    }
}
