//! A schema's files, read and put together by the crates that do that.

use std::collections::{BTreeMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use prost_reflect::DescriptorPool;
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FileDescriptorProto, FileDescriptorSet};

use super::known;
use crate::BadSchema;

/// The most bytes of a schema's files. The topic in which registries keep them has records of at most 1 MiB by default.
const MAX_BYTES: usize = 4 << 20;
/// The most bytes of a descriptor set, which may have comments in it.
const MAX_SET: usize = 16 << 20;
/// The most files of a schema.
const MAX_FILES: usize = 1_000;
/// The most bytes of what the crates say is wrong.
const MAX_REASON: usize = 500;
/// Google's files of types that can be in an Any although no file of the schema says so. None imports another.
pub(super) const IN_ANY: [&str; 7] =
    ["any", "duration", "empty", "field_mask", "struct", "timestamp", "wrappers"];
/// The name of the main file, which has none in a registry. Nobody imports it.
const MAIN: &str = "the schema";

/// A schema's files with all that they import.
pub(super) struct Source {
    pub(super) pool: DescriptorPool,
    /// The names of the files that were given.
    pub(super) given: Vec<String>,
    /// The main one.
    pub(super) main: String,
    /// The full names of messages that the main file's text does not have as such, and that no index counts.
    pub(super) implied: HashSet<String>,
}

/// Files by name.
type Files = BTreeMap<String, FileDescriptorProto>;

impl Source {
    /// See [`Schema::parse`](super::Schema::parse).
    pub(super) fn parse(main: &str, references: &[(&str, &str)]) -> Result<Self, BadSchema> {
        let bytes = references.iter().map(|(_, text)| text.len()).sum::<usize>() + main.len();
        if bytes > MAX_BYTES || references.len() >= MAX_FILES {
            return Err(BadSchema(format!("more than {MAX_BYTES} bytes or {MAX_FILES} files")));
        }
        guarded(|| {
            let mut files = Files::new();
            for (name, text) in references {
                files.insert((*name).to_owned(), file(name, text)?);
            }
            let (main, implied) = main_file(main)?;
            files.insert(MAIN.to_owned(), main);
            Self::of(files, MAIN.to_owned(), implied)
        })
    }

    /// See [`Schema::from_descriptor_set`](super::Schema::from_descriptor_set).
    pub(super) fn from_descriptor_set(bytes: &[u8]) -> Result<Self, BadSchema> {
        if bytes.len() > MAX_SET {
            return Err(BadSchema(format!("a descriptor set of more than {MAX_SET} bytes")));
        }
        guarded(|| {
            let set = FileDescriptorSet::decode(bytes);
            let set = set.map_err(|error| BadSchema(format!("no descriptor set: {error}")))?;
            let main = set.file.last().map(|file| file.name().to_owned());
            let main = main.ok_or_else(|| BadSchema("a descriptor set without a file".to_owned()))?;
            if set.file.len() > MAX_FILES {
                return Err(BadSchema(format!("more than {MAX_FILES} files")));
            }
            let files = set.file.into_iter().map(|file| (file.name().to_owned(), file));
            Self::of(files.collect(), main, HashSet::new())
        })
    }

    fn of(mut files: Files, main: String, implied: HashSet<String>) -> Result<Self, BadSchema> {
        let googles = DescriptorPool::global();
        // Whoever wrote the schema had the same files of these names.
        files.retain(|name, _| *name == main || googles.get_file_by_name(name).is_none());
        let given = files.keys().cloned().collect();
        add_known(&mut files, &googles)?;
        let imports: Vec<Vec<String>> = files.values().map(|file| visible(file, &files)).collect();
        let plain =
            files.into_iter().zip(imports).map(|((name, file), imports)| plain_file(name, imports, file));
        // Not the global one: a schema that does not import Google's files may have types of their names.
        let mut pool = DescriptorPool::new();
        let added = pool.add_file_descriptor_protos(plain.collect::<Vec<_>>());
        added.map_err(|error| BadSchema(short(&error.to_string())))?;
        add_for_any(&mut pool, &googles);
        Ok(Source { pool, given, main, implied })
    }
}

/// The crates are meant to return errors. That they do for whatever somebody registers is not left to them.
pub(super) fn guarded<T>(read: impl FnOnce() -> Result<T, BadSchema>) -> Result<T, BadSchema> {
    let failed = |_| Err(BadSchema("the schema cannot be read".to_owned()));
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(failed)
}

/// The main file, and the messages that only its fields imply.
fn main_file(text: &str) -> Result<(FileDescriptorProto, HashSet<String>), BadSchema> {
    let main = file(MAIN, text)?;
    let mut implied = HashSet::new();
    if descriptor(text).is_none() {
        main.message_type.iter().for_each(|message| take_implied(message, main.package(), &mut implied));
    }
    Ok((main, implied))
}

/// Takes the names of what is within a message and of which its text does not say `message`: the entries of maps, and groups.
fn take_implied(message: &DescriptorProto, scope: &str, implied: &mut HashSet<String>) {
    let name = full_name(scope, message.name());
    let group = |nested: &DescriptorProto| {
        let is_its = |field: &prost_types::FieldDescriptorProto| {
            field.r#type() == Type::Group && field.type_name() == nested.name()
        };
        message.field.iter().any(is_its)
    };
    for nested in &message.nested_type {
        let entry = nested.options.as_ref().is_some_and(|options| options.map_entry());
        if entry || group(nested) {
            implied.insert(full_name(&name, nested.name()));
        }
        take_implied(nested, &name, implied);
    }
}

fn full_name(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}

/// Reads one file: text, or a descriptor in base64.
fn file(name: &str, text: &str) -> Result<FileDescriptorProto, BadSchema> {
    if let Some(bytes) = descriptor(text) {
        let file = FileDescriptorProto::decode(bytes.as_slice());
        return file.map_err(|error| BadSchema(short(&format!("{name}: no file descriptor: {error}"))));
    }
    protox_parse::parse(name, text).map_err(|error| {
        // Written for people, with file, line and column; what ends too early has none of these.
        let reason = format!("{error:?}");
        let place = if reason.starts_with(name) { String::new() } else { format!("{name}: ") };
        BadSchema(short(&format!("{place}{reason}")))
    })
}

/// The bytes of what is base64 throughout. No file with anything in it is: its text has braces or semicolons.
fn descriptor(text: &str) -> Option<Vec<u8>> {
    let text = text.trim();
    STANDARD.decode(text).ok().filter(|bytes| !bytes.is_empty())
}

/// Adds what is imported, was not given, and is known by itself.
fn add_known(files: &mut Files, googles: &DescriptorPool) -> Result<(), BadSchema> {
    let mut imports: Vec<(String, String)> = Vec::new();
    let of = |file: &FileDescriptorProto, imports: &mut Vec<(String, String)>| {
        imports.extend(file.dependency.iter().map(|import| (file.name().to_owned(), import.clone())));
    };
    files.values().for_each(|file| of(file, &mut imports));
    while let Some((from, import)) = imports.pop() {
        if files.contains_key(&import) {
            continue;
        }
        let missing = || BadSchema(short(&format!("{from}: imports {import}, which is not there")));
        let added = match googles.get_file_by_name(&import) {
            Some(google) => google.file_descriptor_proto().clone(),
            None => file(&import, known::text(&import).ok_or_else(missing)?)?,
        };
        of(&added, &mut imports);
        files.insert(import, added);
    }
    Ok(())
}

/// Adds the types that can be in an Any although no file of the schema says so. Where the schema has its own of the same name, these
/// stay.
fn add_for_any(pool: &mut DescriptorPool, googles: &DescriptorPool) {
    for name in IN_ANY.map(file_in_any) {
        let google = googles.get_file_by_name(&name).filter(|_| pool.get_file_by_name(&name).is_none());
        if let Some(google) = google {
            // All of a file or nothing is added.
            let _ = pool.add_file_descriptor_proto(google.file_descriptor_proto().clone());
        }
    }
}

/// The name of the file of one of [`IN_ANY`].
pub(super) fn file_in_any(name: &str) -> String {
    format!("google/protobuf/{name}.proto")
}

/// The files whose types a file sees: those that it imports, and those that these import for others. They are worked out here, since
/// prost-reflect 0.16 follows only one step of such imports, and never ends where they go in a circle.
fn visible(file: &FileDescriptorProto, files: &Files) -> Vec<String> {
    let mut visible: Vec<String> = Vec::new();
    let mut seen = HashSet::new();
    let mut next: Vec<&str> = file.dependency.iter().map(String::as_str).collect();
    while let Some(name) = next.pop() {
        if !seen.insert(name) {
            continue;
        }
        visible.push(name.to_owned());
        let Some(imported) = files.get(name) else { continue };
        let public = imported.public_dependency.iter().filter_map(|index| usize::try_from(*index).ok());
        next.extend(public.filter_map(|index| imported.dependency.get(index)).map(String::as_str));
    }
    visible
}

/// What a file says of its messages and enums. Options are left out: no text depends on them, and they need files of their own.
fn plain_file(name: String, dependency: Vec<String>, file: FileDescriptorProto) -> FileDescriptorProto {
    let mut file = FileDescriptorProto {
        name: Some(name),
        dependency,
        public_dependency: Vec::new(),
        weak_dependency: Vec::new(),
        service: Vec::new(),
        options: None,
        source_code_info: None,
        ..file
    };
    file.message_type.iter_mut().for_each(make_plain);
    file.enum_type.iter_mut().for_each(make_plain_enum);
    file.extension.iter_mut().for_each(make_plain_field);
    file
}

fn make_plain(message: &mut DescriptorProto) {
    let entry = message.options.take().is_some_and(|options| says_map_entry(&options));
    message.options =
        entry.then(|| prost_types::MessageOptions { map_entry: Some(true), ..Default::default() });
    message.field.iter_mut().chain(&mut message.extension).for_each(make_plain_field);
    message.oneof_decl.iter_mut().for_each(|oneof| oneof.options = None);
    message.extension_range.iter_mut().for_each(|range| range.options = None);
    message.enum_type.iter_mut().for_each(make_plain_enum);
    message.nested_type.iter_mut().for_each(make_plain);
}

/// Whether a message is the entry of a map. Registries write it as an option where they turned a descriptor into text.
fn says_map_entry(options: &prost_types::MessageOptions) -> bool {
    let says = |option: &prost_types::UninterpretedOption| {
        let name: Vec<&str> = option.name.iter().map(|part| part.name_part.as_str()).collect();
        name == ["map_entry"] && option.identifier_value() == "true"
    };
    options.map_entry() || options.uninterpreted_option.iter().any(says)
}

fn make_plain_field(field: &mut prost_types::FieldDescriptorProto) {
    field.options = None;
    // What is not there is left out, whatever it would be.
    field.default_value = None;
}

fn make_plain_enum(enumeration: &mut prost_types::EnumDescriptorProto) {
    enumeration.options = Some(prost_types::EnumOptions { allow_alias: Some(true), ..Default::default() });
    enumeration.value.iter_mut().for_each(|value| value.options = None);
}

/// A reason without the rest of one that is endless.
fn short(reason: &str) -> String {
    let end = (0..=MAX_REASON.min(reason.len())).rev().find(|end| reason.is_char_boundary(*end));
    reason[..end.unwrap_or(0)].to_owned()
}
