//! The policy for Lua's collector in Lua's hands.

use mlua::prelude::*;

use crate::engine::{Collector, CollectorStep, PutOff};

/// `native.collector()`
#[derive(Default)]
pub(super) struct Handle(Collector);

impl LuaUserData for Handle {
    fn add_methods<M: LuaUserDataMethods<Self>>(methods: &mut M) {
        // Returns what to do, nil for nothing.
        methods.add_method_mut("put_off", |_, this, (memory, runs): (f64, bool)| {
            Ok(match this.0.put_off(memory, runs) {
                PutOff::Nothing => None,
                PutOff::Begin => Some("begin"),
                PutOff::Rest => Some("rest"),
                PutOff::Collect => Some("collect"),
            })
        });
        methods.add_method_mut("note_collection", |_, this, memory: f64| {
            this.0.note_collection(memory);
            Ok(())
        });
        methods.add_method("limit", |_, this, memory: f64| Ok(this.0.limit(memory)));
        // Returns for how many kilobytes the collector is to rest at the end, nil if it is to collect a slice.
        methods.add_method_mut("step", |_, this, memory: f64| {
            Ok(match this.0.step(memory) {
                CollectorStep::Slice => None,
                CollectorStep::End(rest) => Some(rest),
            })
        });
    }
}
