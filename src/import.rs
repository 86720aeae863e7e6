//! Groups as other programs and this one write them, read for an import: our own JSON, the file of Prosody's
//! `mod_groups`, and what ejabberd's `srg_*` commands print. Text in, groups out; nothing is known of what there is.

use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;

use crate::engine::{Name, display_name};

/// A group to be made, or to be completed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// The id. Where the source has none, one made of the name.
    pub id: String,
    /// The name.
    pub name: String,
    /// What the group is for.
    #[serde(default)]
    pub description: Option<String>,
    /// False if members are not put into the chats.
    #[serde(default)]
    pub chat_membership: Option<bool>,
    /// The chats.
    #[serde(default)]
    pub chats: Vec<Chat>,
    /// The usernames.
    #[serde(default)]
    pub members: Vec<String>,
    /// The source has an id of its own.
    #[serde(skip)]
    pub has_id: bool,
}

/// A chat of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chat {
    /// The room.
    pub jid: String,
    /// The name.
    pub name: String,
    /// It came with the group, and has its name.
    #[serde(default)]
    pub default: bool,
}

/// What a text says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Import {
    /// The groups, in the order of the text.
    pub groups: Vec<Group>,
    /// What is not taken over, and why: for people.
    pub left_out: Vec<String>,
}

/// Why a text was refused, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportError {
    place: String,
    reason: String,
}

impl ImportError {
    fn new(place: impl Into<String>, reason: impl Into<String>) -> ImportError {
        ImportError { place: place.into(), reason: reason.into() }
    }
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.reason)
    }
}

impl std::error::Error for ImportError {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    #[serde(rename = "host")]
    _host: String,
    groups: Vec<Group>,
}

/// What the field `format` of our own files says.
pub const FORMAT: &str = "groups_internal 1";

/// Reads a text of any of the three kinds, for a host.
///
/// # Errors
/// The first thing that is wrong, with its place. Nothing is to be taken in then.
pub fn read(text: &[u8], host: &str) -> Result<Import, ImportError> {
    let text = std::str::from_utf8(text).map_err(|error| {
        let before = text.get(..error.valid_up_to()).unwrap_or_default();
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        ImportError::new(format!("line {line}"), "this is not UTF-8")
    })?;
    let lines = || text.lines().enumerate().map(|(i, line)| (i + 1, line.trim())).filter(|(_, line)| !is_blank(line));
    let import = match lines().next() {
        Some((_, first)) if first.starts_with('{') => read_json(text)?,
        Some((_, first)) if first.starts_with("==") => read_ejabberd(lines(), host)?,
        Some((_, first)) if first.starts_with('[') => read_mod_groups(lines(), host)?,
        Some((line, _)) => {
            let reason = "this begins neither an export (\"{\"), nor a file of mod_groups (\"[name]\"), nor what \
                          ejabberd prints (\"== id\")";
            return Err(ImportError::new(format!("line {line}"), reason));
        }
        None => return Err(ImportError::new("line 1", "there is nothing in it")),
    };
    check(import)
}

fn is_blank(line: &str) -> bool {
    line.is_empty() || line.starts_with('#') || line.starts_with(';')
}

fn read_json(text: &str) -> Result<Import, ImportError> {
    let place = |error: &serde_json::Error| format!("line {}, column {}", error.line(), error.column());
    let file: File = serde_json::from_str(text).map_err(|error| {
        let reason = error.to_string();
        let reason = reason.rsplit_once(" at line ").map_or(&*reason, |(reason, _)| reason);
        ImportError::new(place(&error), reason)
    })?;
    if file.format != FORMAT {
        return Err(ImportError::new("format", format!("it is {:?}, where {FORMAT:?} is known", file.format)));
    }
    let groups = file.groups.into_iter().map(|group| Group { has_id: true, ..group }).collect();
    Ok(Import { groups, left_out: Vec::new() })
}

/// The username in a JID of this host; otherwise why it is left out.
fn local_user(jid: &str, host: &str) -> Result<String, String> {
    // What nodeprep makes of letters, nameprep does for domains.
    let prepared =
        |part: &str| normalised(Name::username(part.as_bytes())).ok_or_else(|| format!("{jid:?} is not a JID"));
    let stranger = || format!("{jid} is not an account of {host}");
    let (user, domain) = jid.split_once('@').ok_or_else(stranger)?;
    let user = prepared(user)?;
    if domain == host || prepared(domain)? == host { Ok(user) } else { Err(stranger()) }
}

fn read_mod_groups<'a>(lines: impl Iterator<Item = (usize, &'a str)>, host: &str) -> Result<Import, ImportError> {
    let mut import = Import::default();
    for (number, line) in lines {
        if let Some(title) = line.strip_prefix('[') {
            let Some(title) = title.strip_suffix(']') else {
                return Err(ImportError::new(format!("line {number}"), "the name has no \"]\""));
            };
            let name = title.strip_prefix('+').unwrap_or(title).trim();
            if title.starts_with('+') {
                let text = "its listed members become a group, but not everybody sees them";
                import.left_out.push(format!("line {number}: [{title}]: {text}"));
            }
            let known = import.groups.iter().position(|group| group.name == name);
            let group = known
                .map(|at| import.groups.remove(at))
                .unwrap_or_else(|| Group { name: name.to_owned(), ..Group::default() });
            import.groups.push(group);
            continue;
        }
        let (jid, title) = line.split_once('=').map_or((line, None), |(jid, title)| (jid, Some(title)));
        // As Prosody does, what follows a blank is passed over.
        let jid = jid.split_whitespace().next().unwrap_or_default();
        let Some(group) = import.groups.last_mut() else { continue };
        match local_user(jid, host) {
            Ok(user) => {
                group.members.push(user);
                if let Some(title) = title {
                    import.left_out.push(format!("line {number}: the name {:?} of {jid}", title.trim()));
                }
            }
            Err(reason) => import.left_out.push(format!("line {number}: {reason}")),
        }
    }
    Ok(import)
}

fn read_ejabberd<'a>(lines: impl Iterator<Item = (usize, &'a str)>, host: &str) -> Result<Import, ImportError> {
    let mut import = Import::default();
    let mut strangers = BTreeSet::new(); // the groups whose members do not see each other
    for (number, line) in lines {
        if let Some(id) = line.strip_prefix("==") {
            let id = id.trim();
            import.groups.push(Group { id: id.to_owned(), name: id.to_owned(), has_id: true, ..Group::default() });
            continue;
        }
        let Some(group) = import.groups.last_mut() else { continue };
        let Some((key, value)) = line.split_once(char::is_whitespace) else {
            match local_user(line, host) {
                Ok(user) => group.members.push(user),
                Err(reason) => import.left_out.push(format!("line {number}: {reason}")),
            }
            continue;
        };
        let value = value.trim();
        // What is empty comes as "[]".
        let is_empty = value.is_empty() || value == "[]";
        match key {
            "label" | "name" if !is_empty => group.name = value.to_owned(),
            "description" if !is_empty => group.description = Some(value.to_owned()),
            "label" | "name" | "description" => {}
            "displayed_groups" => {
                let (own, others) = displayed(value, &group.id);
                let others = if others.is_empty() { "nobody".to_owned() } else { others.join(", ") };
                if !own {
                    let text = "is left out, for here its members would see each other. There they see";
                    import.left_out.push(format!("line {number}: {} {text}: {others}", group.id));
                    strangers.insert(group.id.clone());
                } else if others != "nobody" {
                    import.left_out.push(format!("line {number}: {} shows other groups: {others}", group.id));
                }
            }
            _ if value == "false" => {}
            _ => import.left_out.push(format!("line {number}: {key} {value}")),
        }
    }
    import.groups.retain(|group| !strangers.contains(&group.id));
    Ok(import)
}

/// Whether the members of an ejabberd group see each other, and which other groups they see. ejabberd prints
/// `["crew",", ","staff"]`.
fn displayed<'a>(value: &'a str, id: &str) -> (bool, Vec<&'a str>) {
    let ids =
        value.trim_matches(['[', ']']).split([',', ';']).map(|shown| shown.trim().trim_matches(['"', '\'']).trim());
    let (own, others): (Vec<_>, Vec<_>) = ids.filter(|shown| !shown.is_empty()).partition(|shown| *shown == id);
    (!own.is_empty(), others)
}

/// An id made of a name: letters and digits of ASCII, and hyphens between them.
fn id_of(name: &str) -> String {
    let words: Vec<String> = name
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    if words.is_empty() { "group".to_owned() } else { words.join("-") }
}

/// Gives ids to groups without one, normalises names, and refuses those that cannot be.
fn check(mut import: Import) -> Result<Import, ImportError> {
    let mut taken: BTreeSet<String> = import.groups.iter().map(|group| group.id.clone()).collect();
    let mut seen = BTreeSet::new();
    for (i, group) in import.groups.iter_mut().enumerate() {
        let place = format!("groups[{}] ({:?})", i + 1, group.name);
        let wrong = |reason: String| ImportError::new(place.clone(), reason);
        if display_name(group.name.as_bytes()).is_err() {
            return Err(wrong("the name is not valid".to_owned()));
        }
        let description = group.description.as_deref().filter(|text| !text.is_empty());
        if description.is_some_and(|text| display_name(text.as_bytes()).is_err()) {
            return Err(wrong("the description is not valid".to_owned()));
        }
        if let Some(chat) = group.chats.iter().find(|chat| display_name(chat.name.as_bytes()).is_err()) {
            return Err(wrong(format!("{:?} cannot be the name of a chat", chat.name)));
        }
        if !group.has_id {
            let base = id_of(&group.name);
            let numbered = (2..).map(|n| format!("{base}-{n}"));
            let free = std::iter::once(base.clone()).chain(numbered).find(|id| !taken.contains(id));
            group.id = free.unwrap_or(base);
            taken.insert(group.id.clone());
        }
        group.id = normalised(Name::group_id(group.id.as_bytes()))
            .ok_or_else(|| wrong(format!("{:?} cannot be an id", group.id)))?;
        if !seen.insert(group.id.clone()) {
            return Err(wrong(format!("the id {:?} comes twice", group.id)));
        }
        let mut members = BTreeSet::new();
        for user in &group.members {
            let name = normalised(Name::username(user.as_bytes()))
                .ok_or_else(|| wrong(format!("{user:?} cannot be a username")))?;
            members.insert(name);
        }
        group.members = members.into_iter().collect();
    }
    Ok(import)
}

fn normalised<E>(name: Result<Name, E>) -> Option<String> {
    String::from_utf8(name.ok()?.as_bytes().to_vec()).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read_ok(text: &str) -> Import {
        read(text.as_bytes(), "example.com").unwrap()
    }

    fn error(text: &str) -> String {
        read(text.as_bytes(), "example.com").unwrap_err().to_string()
    }

    #[test]
    fn a_file_of_mod_groups_gives_groups_and_says_what_is_left_out() {
        let import = read_ok(
            "# ours\n[Book Club]\nAnn@example.com\nbob@example.com=Bobby\neve@elsewhere.example\n\n[+Book  club]\n\
             ann@example.com\n[Book Club]\ncleo@example.com\n",
        );
        let ids: Vec<_> = import.groups.iter().map(|group| (&*group.id, group.members.join(" "))).collect();
        assert_eq!(ids, [("book-club", "ann".to_owned()), ("book-club-2", "ann bob cleo".to_owned())]);
        assert_eq!(
            import.left_out,
            [
                "line 4: the name \"Bobby\" of bob@example.com",
                "line 5: eve@elsewhere.example is not an account of example.com",
                "line 7: [+Book  club]: its listed members become a group, but not everybody sees them",
            ]
        );
    }

    #[test]
    fn what_ejabberd_prints_gives_groups_and_says_what_is_left_out() {
        // As ejabberd 24.12 prints it.
        let import = read_ok(
            "== both\ndisplayed_groups\t[\"crew\",\", \",\"both\"]\nlabel\t[]\ndescription\t[]\nbob@elsewhere.example\n\
             == crew\ndisplayed_groups\t[\"crew\"]\nlabel\tNight crew\ndescription\tAll \"hands\"\nann@example.com\n\
             == all\nlabel\tAll\ndisplayed_groups\t[\"all\"]\nall_users\ttrue\nonline_users\tfalse\n@all@\n",
        );
        let names: Vec<_> = import.groups.iter().map(|group| (&*group.id, &*group.name)).collect();
        assert_eq!(names, [("both", "both"), ("crew", "Night crew"), ("all", "All")]);
        assert_eq!(import.groups[0].description, None);
        assert_eq!(import.groups[1].description.as_deref(), Some("All \"hands\""));
        assert_eq!(import.groups[1].members, ["ann"]);
        assert_eq!(import.groups[2].members, [""; 0]);
        assert_eq!(
            import.left_out,
            [
                "line 2: both shows other groups: crew",
                "line 5: bob@elsewhere.example is not an account of example.com",
                "line 14: all_users true",
                "line 16: \"@all@\" is not a JID",
            ]
        );
    }

    #[test]
    fn a_group_of_ejabberd_that_shows_its_members_only_others_or_nobody_does_not_become_one_that_sees_itself() {
        let import = read_ok(
            "== crew\ndisplayed_groups\t[\"crew\"]\nann@example.com\n\
             == watch\ndisplayed_groups\t[\"crew\"]\nlabel\tWatch\nbob@example.com\n\
             == dark\nlabel\tDark\ndisplayed_groups\t[]\nbob@example.com\n",
        );
        let ids: Vec<_> = import.groups.iter().map(|group| &*group.id).collect();
        assert_eq!(ids, ["crew"]);
        let text = "is left out, for here its members would see each other. There they see";
        assert_eq!(import.left_out, [format!("line 5: watch {text}: crew"), format!("line 10: dark {text}: nobody")]);
    }

    #[test]
    fn what_is_damaged_is_refused_with_its_place() {
        let json = |groups: &str| format!("{{\"format\":\"{FORMAT}\",\"host\":\"h\",\n\"groups\":[{groups}]}}");
        assert_eq!(read_ok(&json(r#"{"id":"A","name":"A","members":["B","b"]}"#)).groups[0].members, ["b"]);
        assert_eq!(error(&json("{")), "line 2, column 12: key must be a string");
        assert!(error(&json(r#"{"id":"a"}"#)).ends_with("missing field `name`"));
        let bad = error(&json(r#"{"id":"a","name":"A","members":["b","c d"]}"#));
        assert_eq!(bad, "groups[1] (\"A\"): \"c d\" cannot be a username");
        let twice = r#"{"id":"a","name":"A"},{"id":"a","name":"B"}"#;
        assert_eq!(error(&json(twice)), "groups[2] (\"B\"): the id \"a\" comes twice");
        assert_eq!(error("[Family\nann@example.com"), "line 1: the name has no \"]\"");
        assert_eq!(error("\n# nothing\n"), "line 1: there is nothing in it");
        assert!(error("ann@example.com").starts_with("line 1: this begins neither"));
        let not_text = read(b"[A]\n\xff\n", "example.com").unwrap_err().to_string();
        assert_eq!(not_text, "line 2: this is not UTF-8");
    }
}
