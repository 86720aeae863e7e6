//! The engine as a Lua library. Nothing else knows mlua.
//!
//! `require "groups_internal_native"` gives a table with `version` and `open(host, kept, options)`.
//! A handle's methods either answer from memory or start an operation, which is driven with `operation:resume(now, …)`;
//! see [`operation`]. A call that can fail as expected returns `nil, "error"`; Lua errors are for bugs.

mod collector;
mod convert;
mod handle;
mod kept;
mod operation;
mod roster;

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;

use mlua::prelude::*;
use once_cell::sync::{Lazy, OnceCell};
use parking_lot::Mutex;

use crate::engine::{Engine, Naming, Options, remember_panics};
use handle::Handle;

/// The engines of all hosts. It outlives a module, so that a reload goes on where it was.
static HOSTS: Lazy<Mutex<HashMap<String, Engine>>> = Lazy::new(Mutex::default);

/// The options of a host; or what is wrong with them.
fn read_options(options: &LuaTable) -> LuaResult<Result<Options, String>> {
    let option = |name: &str| options.raw_get::<Option<bool>>(name).map(Option::unwrap_or_default);
    let naming = options.raw_get::<Option<String>>("naming")?;
    let naming = match naming.as_deref() {
        None | Some("none") => Naming::None,
        Some("username") => Naming::Username,
        Some("nickname") => Naming::Nickname,
        Some(other) => {
            let text = "groups_contact_name must be \"none\", \"username\" or \"nickname\", but is";
            return Ok(Err(format!("{text} {other:?}")));
        }
    };
    let roster_mode = options.raw_get::<Option<String>>("roster_mode")?;
    let virtual_contacts = match roster_mode.as_deref() {
        None | Some("permanent") => false,
        Some("virtual") => true,
        Some(other) => {
            return Ok(Err(format!("groups_roster_mode must be \"permanent\" or \"virtual\", but is {other:?}")));
        }
    };
    Ok(Ok(Options {
        chats: option("chats")?,
        row_writes: option("row_writes")?,
        random_room_ids: option("random_room_ids")?,
        enforce_affiliations: option("enforce_affiliations")?,
        remove_contacts: option("remove_contacts")?,
        naming,
        virtual_contacts,
    }))
}

/// Opens the engine of a host: the one that a reload left, if `kept` is true and there is one, otherwise a new one.
fn open(lua: &Lua, (host, kept, options): (String, bool, LuaTable)) -> LuaResult<LuaMultiValue> {
    let options = match read_options(&options)? {
        Ok(options) => options,
        Err(text) => return (LuaValue::Nil, text).into_lua_multi(lua),
    };
    let mut hosts = HOSTS.lock();
    let engine = match hosts.get(&host).filter(|_| kept) {
        Some(engine) => engine.clone(),
        None => {
            let engine = Engine::new(&host, options);
            if let Some(old) = hosts.insert(host.clone(), engine.clone()) {
                old.close();
            }
            engine
        }
    };
    engine.set_options(options);
    Handle::new(engine, host).into_lua_multi(lua)
}

/// Forgets the engine of a host.
fn close(host: &str) {
    if let Some(engine) = HOSTS.lock().remove(host) {
        engine.close();
    }
}

/// What tells the library in storage from the one that has replaced it since.
type Stamp = (u64, u64, Option<std::time::SystemTime>);

/// The stamp of the library when it was loaded: the process has it until it ends.
static STAMP: OnceCell<Option<Stamp>> = OnceCell::new();

/// Whether the library at this path is another than at the first call.
fn is_replaced(_: &Lua, path: String) -> LuaResult<bool> {
    let file = std::fs::metadata(path).ok();
    let stamp = file.map(|file| (file.ino(), file.len(), file.modified().ok()));
    Ok(*STAMP.get_or_init(|| stamp) != stamp)
}

/// The version for which the shim at this path was written.
fn version_of(_: &Lua, path: String) -> LuaResult<Option<String>> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let version = text.lines().find_map(|line| line.strip_prefix("local VERSION = \"")?.strip_suffix("\";"));
    Ok(version.map(str::to_owned))
}

/// Reads groups for an import: returns `{ groups, left_out }`, or nil and what is wrong where.
fn read_groups(lua: &Lua, (text, host): (LuaString, String)) -> LuaResult<LuaMultiValue> {
    match crate::import::read(&text.as_bytes(), &host) {
        Ok(import) => convert::import(lua, import)?.into_lua_multi(lua),
        Err(error) => (LuaValue::Nil, error.to_string()).into_lua_multi(lua),
    }
}

// `skip_memory_check`: Prosody sets Lua no limit of memory, and nobody survives the system having none. Checking for it
// at each string of a long list takes longer than making the string.
#[mlua::lua_module(name = "groups_internal_native", skip_memory_check)]
fn library(lua: &Lua) -> LuaResult<LuaTable> {
    remember_panics();
    let exports = lua.create_table()?;
    exports.raw_set("version", env!("CARGO_PKG_VERSION"))?;
    exports.raw_set("open", lua.create_function(open)?)?;
    exports.raw_set("is_replaced", lua.create_function(is_replaced)?)?;
    exports.raw_set("version_of", lua.create_function(version_of)?)?;
    exports.raw_set("export_format", crate::import::FORMAT)?;
    exports.raw_set("read_groups", lua.create_function(read_groups)?)?;
    exports.raw_set("collector", lua.create_function(|_, ()| Ok(collector::Handle::default()))?)?;
    roster::add_functions(lua, &exports)?;
    Ok(exports)
}
