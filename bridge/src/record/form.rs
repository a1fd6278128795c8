//! What decoding says of a record beside its bytes: in which form its value is, and which half of it could not be decoded, and
//! why. It is kept with the record, in one byte.
//!
//! A half that cannot be decoded keeps the bytes that Kafka has. Nobody knows what is in them, so nothing looks into them: no
//! rule, no filter; and a mask withholds them.

/// The form of a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ValueForm {
    /// Not known: it is JSON if it is a JSON document, else text if it is UTF-8, else binary.
    #[default]
    Unknown,
    /// A JSON document. Whoever says so has checked it.
    Json,
    /// Text, even if it is a JSON document.
    Text,
    /// Binary, even if it is UTF-8.
    Binary,
}

/// One of the two parts of a record that have a format, or both of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// The key.
    Key,
    /// The value.
    Value,
    /// The key and the value.
    Both,
}

impl Half {
    /// All of them, in the order of their numbers.
    pub const ALL: [Half; 3] = [Half::Key, Half::Value, Half::Both];

    /// The name of its field in the record envelope, or `both`.
    pub fn as_str(self) -> &'static str {
        match self {
            Half::Key => "key",
            Half::Value => "value",
            Half::Both => "both",
        }
    }

    /// Whether the key is meant.
    pub(crate) fn is_key(self) -> bool {
        self != Half::Value
    }

    /// Whether the value is meant.
    pub(crate) fn is_value(self) -> bool {
        self != Half::Key
    }
}

/// Why a half of a record cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlawCode {
    /// The bytes do not fit the format or the schema.
    Mismatch,
    /// They nest too deep.
    TooDeep,
    /// As JSON they would be too large.
    TooLarge,
    /// The registry has no schema of this id.
    UnknownSchema,
    /// The schema cannot be used.
    BadSchema,
    /// The schema is not of the format that the settings say.
    OtherFormat,
    /// They do not say by which schema they were written.
    NoSchemaId,
    /// The value lacks the part that the settings take from it.
    NoPart,
}

impl FlawCode {
    /// All of them.
    pub const ALL: [FlawCode; 8] = [
        FlawCode::Mismatch,
        FlawCode::TooDeep,
        FlawCode::TooLarge,
        FlawCode::UnknownSchema,
        FlawCode::BadSchema,
        FlawCode::OtherFormat,
        FlawCode::NoSchemaId,
        FlawCode::NoPart,
    ];

    /// The stable code that clients see, and a label for metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            FlawCode::Mismatch => "mismatch",
            FlawCode::TooDeep => "too_deep",
            FlawCode::TooLarge => "too_large",
            FlawCode::UnknownSchema => "unknown_schema",
            FlawCode::BadSchema => "bad_schema",
            FlawCode::OtherFormat => "other_format",
            FlawCode::NoSchemaId => "no_schema_id",
            FlawCode::NoPart => "no_part",
        }
    }
}

/// What of a record cannot be decoded, and why. If neither half can, the code is the value's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// Which half.
    pub half: Half,
    /// Why.
    pub code: FlawCode,
}

/// What decoding says of a record. The default: nothing was decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// The form of the value.
    pub value: ValueForm,
    /// Whether the key is binary, even if it is UTF-8.
    pub binary_key: bool,
    /// What could not be decoded.
    pub flaw: Option<Flaw>,
}

impl Form {
    /// Whether the value is what Kafka has, because it cannot be decoded.
    pub(crate) fn has_raw_value(self) -> bool {
        self.flaw.is_some_and(|flaw| flaw.half.is_value())
    }

    /// Whether the key is what Kafka has, because it cannot be decoded.
    pub(crate) fn has_raw_key(self) -> bool {
        self.flaw.is_some_and(|flaw| flaw.half.is_key())
    }

    /// Whether conditions on fields can look into the value.
    pub(crate) fn has_fields(self) -> bool {
        matches!(self.value, ValueForm::Unknown | ValueForm::Json) && !self.has_raw_value()
    }

    /// Two bits for the form of the value, one for the key's, and from the fourth on a number: 0, or 1 + the flaw's.
    pub(crate) fn to_byte(self) -> u8 {
        let value = match self.value {
            ValueForm::Unknown => 0,
            ValueForm::Json => 1,
            ValueForm::Text => 2,
            ValueForm::Binary => 3,
        };
        let flaw = self.flaw.map_or(0, |flaw| 1 + Half::ALL.len() as u8 * flaw.code as u8 + flaw.half as u8);
        value | u8::from(self.binary_key) << 2 | flaw << 3
    }

    /// Reads what [`Form::to_byte`] wrote. A number that is no flaw's is none.
    pub(crate) fn of_byte(byte: u8) -> Form {
        let value = match byte & 3 {
            0 => ValueForm::Unknown,
            1 => ValueForm::Json,
            2 => ValueForm::Text,
            _ => ValueForm::Binary,
        };
        let flaw = (byte >> 3).checked_sub(1).and_then(|number| {
            let number = usize::from(number);
            let half = Half::ALL[number % Half::ALL.len()];
            let code = *FlawCode::ALL.get(number / Half::ALL.len())?;
            Some(Flaw { half, code })
        });
        Form { value, binary_key: byte & 4 != 0, flaw }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_comes_back_from_its_byte() {
        let flaws =
            Half::ALL.iter().flat_map(|half| FlawCode::ALL.map(|code| Some(Flaw { half: *half, code })));
        let flaws: Vec<Option<Flaw>> = flaws.chain([None]).collect();
        let mut bytes = std::collections::BTreeSet::new();
        for value in [ValueForm::Unknown, ValueForm::Json, ValueForm::Text, ValueForm::Binary] {
            for binary_key in [false, true] {
                for flaw in &flaws {
                    let form = Form { value, binary_key, flaw: *flaw };
                    assert_eq!(Form::of_byte(form.to_byte()), form);
                    bytes.insert(form.to_byte());
                }
            }
        }
        assert_eq!(bytes.len(), 4 * 2 * flaws.len());
        (0..=u8::MAX).for_each(|byte| _ = Form::of_byte(byte));
    }
}
