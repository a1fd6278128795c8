//! The parameters of an operator's request. All are optional, and each may be given once; none is ignored: a misspelt one would
//! widen what is meant.

use crate::problem::Problem;
use crate::query::decode;

/// The parameters of one request.
pub(super) struct Parameters(Vec<(&'static str, String)>);

impl Parameters {
    /// Splits and decodes a query string with these names.
    pub(super) fn split(query: Option<&str>, names: &[&'static str]) -> Result<Parameters, Problem> {
        let mut all = Parameters(Vec::new());
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name).unwrap_or_default();
            let known =
                names.iter().copied().find(|known| *known == name).ok_or_else(|| unknown(&name, names))?;
            let value = decode(value).filter(|value| !value.is_empty());
            let value = value.ok_or_else(|| Problem::parameter(known, "a value in UTF-8 is needed"))?;
            if all.get(known).is_some() {
                return Err(Problem::parameter(known, "it may be given once"));
            }
            all.0.push((known, value));
        }
        Ok(all)
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// The value, as `parse` reads it; an error is what is accepted.
    pub(super) fn read<T, E: Into<String>>(
        &self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, Problem> {
        self.get(name).map(parse).transpose().map_err(|error| Problem::parameter(name, error))
    }

    /// The value among those that are known; the first of them is the default.
    pub(super) fn choice<T: Copy>(&self, name: &'static str, known: &[(&str, T)]) -> Result<T, Problem> {
        let accepted = || known.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        let find = |value: &str| known.iter().find(|(word, _)| *word == value).ok_or_else(accepted);
        Ok(self.read(name, find)?.unwrap_or(&known[0]).1)
    }
}

fn unknown(name: &str, names: &[&str]) -> Problem {
    let known = if names.is_empty() { "there are none here".to_owned() } else { names.join(", ") };
    Problem::parameter(name, format!("it is not known; known are: {known}"))
}
