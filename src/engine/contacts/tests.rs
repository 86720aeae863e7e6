//! Each rule of a contact, as a case: what a roster has, what the plan says, and what becomes of it.

use std::collections::HashSet;

use super::edits::{note_edit, note_removal};
use super::item::{Cover, Edit, Fact, Fate, Item, Labels, OwnEdit, Rename, Step, Subscription};
use super::overlay::{Replaced, TakenIn, read_edits, take_in, virtual_version};
use super::provenance::Provenance;
use super::rules::{Decision, decide, new_labels};
use super::versions::Version;
use crate::engine::effect::{Comparison, Naming, Plan, Section, Tie};
use crate::engine::state::name::Name;
use crate::engine::state::value::Value;
use crate::engine::{Engine, Options};

use Subscription::{Both, From, None as Nothing, To};

fn labels(list: &[&str]) -> Labels {
    list.iter().map(|label| (*label).to_owned()).collect()
}

fn item(subscription: Subscription, groups: &[&str]) -> Item {
    Item { subscription, groups: labels(groups), ..Item::default() }
}

fn asked(item: Item) -> Item {
    Item { ask: true, ..item }
}

fn called(name: &str, item: Item) -> Item {
    Item { name: Some(name.to_owned()), ..item }
}

/// A roster with one contact, bob.
#[derive(Clone, Default)]
struct Case {
    tie: Tie,
    groups: Vec<(&'static str, &'static str)>,
    left: Vec<&'static str>,
    naming: Naming,
    nickname: Option<&'static str>,
    provenance: Option<&'static str>,
    item: Option<Item>,
    pending: bool,
    unverified: bool,
    /// The account was deleted, and made again.
    remade: bool,
    adopt: bool,
    /// The roster was changed in memory before.
    stale: bool,
    virtual_contacts: bool,
    covered: bool,
    below: Option<Item>,
    edit: Option<OwnEdit>,
    bearers: Vec<(&'static str, Item)>,
    ended: bool,
}

/// What became of it.
struct Outcome {
    decision: Decision,
    stored: Option<Item>,
    shown: Option<Item>,
    edit: Option<OwnEdit>,
    text: String,
}

const G: (&str, &str) = ("g", "G");

fn brought_by(groups: &[(&'static str, &'static str)]) -> Case {
    Case { groups: groups.to_vec(), ..Case::default() }
}

fn given_up_by(left: &[&'static str]) -> Case {
    Case { tie: Tie::GiveUp, left: left.to_vec(), ..Case::default() }
}

fn withdrawn() -> Case {
    Case { tie: Tie::Withdraw, ..Case::default() }
}

impl Case {
    fn known(self, provenance: &'static str) -> Case {
        Case { provenance: Some(provenance), ..self }
    }

    fn with(self, item: Item) -> Case {
        Case { item: Some(item), ..self }
    }

    fn decide(self) -> Outcome {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let section = Section {
            tie: self.tie,
            contacts: 1,
            verified: !self.unverified && self.tie == Tie::Bring || self.remade,
            anew: self.remade,
            ended: self.ended,
            groups: self.groups.iter().map(|(id, label)| ((*id).to_owned(), (*label).to_owned())).collect(),
            left: owned(&self.left),
            left_labels: owned(&["G"]),
            names: vec![self.nickname.map(str::to_owned)],
        };
        let plan = Plan {
            contacts: vec!["bob".into()],
            sections: vec![section],
            naming: self.naming,
            adopt: self.adopt,
            virtual_contacts: self.virtual_contacts,
            version: 100,
            stamp: Some(1),
            ..Plan::default()
        };
        let fact = Fact {
            number: 1,
            item: self.item.clone(),
            covered: self.covered,
            below: self.below.clone(),
            edit: self.edit.clone(),
            pending: self.pending,
        };
        let nothing = fact == Fact { number: 1, ..Fact::default() };
        let found = Comparison {
            absent: if nothing { vec![1] } else { vec![] },
            facts: if nothing { vec![] } else { vec![fact.clone()] },
            version: Version::Number(7),
            fresh: !self.stale,
            ..Comparison::default()
        };
        let provenance = self.provenance.map(|text| Provenance::parse(text.as_bytes(), "host").unwrap());
        let bearers: Vec<_> = self.bearers.iter().map(|(name, item)| ((*name).to_owned(), item.clone())).collect();
        let decision = decide(&plan, &found, provenance, &bearers);
        let mut outcome = Outcome {
            stored: fact.stored().cloned(),
            shown: fact.item.clone(),
            edit: fact.edit.clone(),
            text: decision.provenance.to_text().unwrap_or_default(),
            decision,
        };
        for edit in &outcome.decision.change.edits.clone() {
            assert_eq!(edit.contacts, [1]);
            outcome.take(&edit.step, edit.names.first().cloned().flatten(), fact.covered);
        }
        outcome
    }
}

impl Outcome {
    fn take(&mut self, step: &Step, name: Option<String>, covered: bool) {
        match &step.fate {
            Fate::Keep => {}
            Fate::Remove => self.stored = None,
            Fate::Alter { subscription, ask, name: rename, add, drop } => {
                let item = self.stored.get_or_insert_default();
                item.subscription = subscription.unwrap_or(item.subscription);
                item.ask = ask.unwrap_or(item.ask);
                match rename {
                    Rename::Keep => {}
                    Rename::Clear => item.name = None,
                    Rename::Give => item.name.clone_from(&name),
                }
                item.groups.retain(|group| !drop.contains(group));
                item.groups.extend(add.iter().cloned());
            }
        }
        self.shown = match &step.cover {
            &Cover::Show { ref groups, subscription, ask, .. } => {
                Some(Item { subscription, ask, name, groups: groups.clone() })
            }
            Cover::Keep if covered => self.shown.take(),
            _ => self.stored.clone(),
        };
        if let Some(edit) = &step.edit {
            self.edit.clone_from(edit);
        }
    }
}

#[test]
fn a_contact_that_is_not_there_is_brought_and_its_presence_asked_for() {
    let outcome = brought_by(&[G]).decide();
    assert_eq!(outcome.stored, Some(item(Both, &["G"])));
    assert_eq!((&outcome.decision.changed[..], &outcome.decision.gained[..]), (&[1][..], &[1][..]));
    assert_eq!(outcome.text, r#"{"labels":{"g":"G"}}"#);
    assert_eq!((outcome.decision.change.version, outcome.decision.change.stamp), (Some(100), Some(1)));
    assert!(outcome.decision.change.unsaved);
}

#[test]
fn a_member_without_a_known_account_is_reported_and_left_as_it_is() {
    for item in [None, Some(item(Nothing, &[])), Some(item(Both, &["Old"]))] {
        let outcome = Case { unverified: true, item: item.clone(), ..brought_by(&[G]) }.decide();
        assert_eq!((outcome.stored, &outcome.decision.missing[..]), (item, &[1][..]));
        assert!(outcome.decision.change.edits.is_empty() && outcome.decision.change.stamp.is_none());
    }
    let outcome = Case { unverified: true, ..brought_by(&[G]) }.with(item(Both, &["G"])).decide();
    assert!(outcome.decision.missing.is_empty(), "one that has the usual form need not be asked for");
    let named = Case { unverified: true, naming: Naming::Username, ..brought_by(&[G]) };
    let missing = |item| named.clone().with(item).decide().decision.missing;
    assert!(missing(called("bob", item(Both, &["G"]))).is_empty(), "nor one that has its name");
    assert_eq!([missing(item(Both, &["G"])), missing(called("Pal", item(Both, &["G"])))], [[1], [1]]);
}

#[test]
fn a_change_says_nothing_of_what_stays() {
    let known = r#"{"labels":{"g":"Old"}}"#;
    let outcome = brought_by(&[G]).known(known).with(called("Pal", item(Both, &["Old", "Mine"]))).decide();
    let (add, drop) = (labels(&["G"]), labels(&["Old"]));
    let fate = Fate::Alter { subscription: None, ask: None, name: Rename::Keep, add, drop };
    let edit = Edit { step: Step { fate, ..Step::default() }, contacts: vec![1], names: vec![] };
    assert_eq!(outcome.decision.change.edits, [edit]);
}

#[test]
fn what_an_own_contact_was_is_noted_and_comes_back() {
    let own = called("Pal", asked(item(Nothing, &["Mine"])));
    let outcome = brought_by(&[G]).with(own.clone()).decide();
    assert_eq!(outcome.stored, Some(called("Pal", item(Both, &["G", "Mine"]))));
    let text: &'static str = outcome.text.leak();
    let back = given_up_by(&["g"]).known(text).with(outcome.stored.unwrap()).decide();
    assert_eq!(back.stored, Some(own));
    assert_eq!(back.decision.lost, [1]);
}

#[test]
fn what_has_been_ended_of_a_subscription_meanwhile_stays_ended() {
    let noted = r#"{"labels":{"g":"G"},"notes":{"bob":{"subscription":"from","ask":"subscribe"}}}"#;
    let up = |item| given_up_by(&["g"]).known(noted).with(item).decide().stored;
    assert_eq!(up(item(Both, &["G"])), Some(asked(item(From, &[]))));
    assert_eq!(up(item(To, &["G"])), Some(asked(item(Nothing, &[]))));
    assert_eq!(up(item(From, &["G"])), Some(item(From, &[])), "whoever ends it asks no more");
    let again = brought_by(&[G]).known(noted).with(item(To, &["G"])).decide();
    assert!(again.text.contains(r#""bob":{"subscription":"none","ask":"subscribe"}"#), "{}", again.text);
    let brought = r#"{"labels":{"g":"G"},"notes":{"bob":{"brought":true}}}"#;
    assert_eq!(brought_by(&[G]).known(brought).with(item(To, &[])).decide().text, brought, "a brought one was nothing");
}

#[test]
fn a_brought_contact_goes_with_the_groups_unless_the_user_has_marked_it() {
    let known = r#"{"labels":{"g":"G"}}"#;
    let up = |item| given_up_by(&["g"]).known(known).with(item).decide();
    assert_eq!(up(item(Both, &["G"])).stored, None);
    assert_eq!(up(called("Pal", item(Both, &["G"]))).stored, Some(called("Pal", item(Nothing, &[]))));
    assert_eq!(up(item(Both, &["G", "Mine"])).stored, Some(item(Nothing, &["Mine"])));
    assert_eq!(up(item(Both, &["Mine"])).stored, Some(item(Both, &["Mine"])), "one of the user's own");
    let gone = up(item(Both, &["G"]));
    assert_eq!((&gone.decision.lost[..], gone.text.as_str()), (&[1][..], known), "nothing is to be remembered");
}

#[test]
fn a_contact_that_another_group_has_left_behind_keeps_its_subscription() {
    let known = r#"{"labels":{"g":"G","h":"H"}}"#;
    let outcome = given_up_by(&["h"]).known(known).with(item(Both, &["G", "H"])).decide();
    assert_eq!(outcome.stored, Some(item(Both, &["G"])));
    let own = r#"{"labels":{"g":"G","h":"H"},"notes":{"bob":{"subscription":"none"}}}"#;
    let outcome = given_up_by(&["h"]).known(own).with(item(Both, &["G", "H", "Mine"])).decide();
    assert_eq!(outcome.stored, Some(item(Both, &["G", "Mine"])), "also one of the user's own");
    // And counts as brought when it is brought again: nothing is noted of it.
    let outcome = brought_by(&[("h", "H")]).known(known).with(item(Both, &["G"])).decide();
    assert_eq!((outcome.stored, outcome.text.as_str()), (Some(item(Both, &["G", "H"])), known));
}

#[test]
fn what_was_given_up_is_the_users_and_is_given_up_again_only_if_storage_still_has_it() {
    let known = r#"{"labels":{"g":"G"},"notes":{"bob":{"subscription":"none","released":true}}}"#;
    let up = |item: Item, stale| Case { stale, ..given_up_by(&["g"]) }.known(known).with(item).decide().stored;
    assert_eq!(up(item(Both, &["G"]), true), Some(item(Nothing, &[])), "it bears the label");
    assert_eq!(up(item(Both, &[]), false), Some(item(Nothing, &[])), "it is read as it was");
    assert_eq!(up(item(Both, &[]), true), Some(item(Both, &[])), "somebody has befriended it");
    assert_eq!(up(asked(item(Nothing, &[])), false), Some(asked(item(Nothing, &[]))));
    assert_eq!(up(item(From, &[]), false), Some(item(Nothing, &[])), "half of it had been ended before");
    assert_eq!(up(item(From, &[]), true), Some(item(From, &[])), "the user has made it so since");
    let brought = r#"{"labels":{"g":"G"},"notes":{"bob":{"brought":true,"released":true}}}"#;
    let up = |item| given_up_by(&["g"]).known(brought).with(item).decide().stored;
    assert_eq!(up(item(Both, &[])), None, "the labels had been taken off before");
    assert_eq!(up(item(To, &["Mine"])), Some(item(Nothing, &["Mine"])), "and half of the subscription been ended");
    assert_eq!(up(item(Nothing, &["Mine"])), Some(item(Nothing, &["Mine"])));
}

#[test]
fn what_storage_has_as_it_was_is_given_up_again_as_it_was_given_up_before() {
    let known = r#"{"labels":{"g":"G"},"names":{"bob":"Bobby"}}"#;
    let own = r#"{"labels":{"g":"G"},"notes":{"bob":{"subscription":"from"}}}"#;
    let brought = ["Bobby", "Pal"].map(|name| (known, called(name, item(Both, &["G"]))));
    for (known, item) in brought.into_iter().chain([(known, item(Both, &["G", "Mine"])), (own, item(Both, &["G"]))]) {
        for case in [given_up_by(&["g"]), withdrawn()] {
            let first = case.clone().known(known).with(item.clone()).decide();
            let text: &'static str = first.text.leak();
            assert_eq!(case.known(text).with(item.clone()).decide().stored, first.stored, "{text}");
        }
    }
}

#[test]
fn of_a_contact_that_is_gone_nothing_is_remembered_when_the_roster_is_saved() {
    let named = (r#"{"labels":{"g":"G"},"names":{"bob":"Bobby"}}"#, called("Bobby", item(Both, &["G"])));
    let own = (r#"{"labels":{"g":"G"},"notes":{"bob":{"subscription":"from"}}}"#, item(Both, &["G"]));
    let stripped = (r#"{"labels":{"g":"G"},"notes":{"bob":{"brought":true}}}"#, item(Both, &["Mine"]));
    for (known, item) in [named, own, stripped] {
        for case in [given_up_by(&["g"]), withdrawn()] {
            let mut provenance = case.known(known).with(item.clone()).decide().decision.provenance;
            provenance.forget(&HashSet::new(), &Labels::new(), &Labels::new());
            assert_eq!(provenance.to_text(), None, "of {known}");
        }
    }
}

#[test]
fn contacts_that_were_given_up_in_memory_only_are_as_they_were_brought_when_groups_bring_them_again() {
    let section = |tie, verified| Section { tie, verified, contacts: 1, ..Section::default() };
    let sections =
        [(Tie::Bring, true), (Tie::Bring, false), (Tie::Spare, true), (Tie::Bring, true)].map(|(t, v)| section(t, v));
    let contacts = ["ann", "bob", "carl", "dora"].map(Name::from).into();
    let mut plan = Plan { contacts, sections: sections.into(), ..Plan::default() };
    let note = r#"{"subscription":"none","released":true}"#;
    let known = format!(r#"{{"notes":{{"ann":{note},"bob":{note},"carl":{note},"dora":{note}}}}}"#);
    let released = |plan: &Plan, found: Comparison| {
        let known = Provenance::parse(known.as_bytes(), "host").unwrap();
        let provenance = decide(plan, &found, Some(known), &[]).provenance;
        assert_eq!(provenance.noted().count(), 4);
        provenance.released().map(str::to_owned).collect::<Vec<_>>()
    };
    let bob = |item| Comparison { facts: vec![Fact { number: 2, item, ..Fact::default() }], ..Comparison::default() };
    assert_eq!(released(&plan, Comparison::default()), ["carl"], "whether or not there is an account");
    assert_eq!(released(&plan, bob(Some(item(Both, &["Old"])))), ["carl"], "but for a label");
    assert_eq!(released(&plan, bob(Some(item(Nothing, &[])))), ["bob", "carl"], "it is as it was given up");
    assert_eq!(released(&plan, Comparison { absent: vec![2], ..Comparison::default() }), ["bob", "carl"]);
    plan.virtual_contacts = true;
    let all = ["ann", "bob", "carl", "dora"];
    assert_eq!(released(&plan, Comparison::default()), all, "what is below a virtual contact stays given up");
}

#[test]
fn a_note_stays_until_the_roster_is_saved_and_leaves_only_the_users_choice() {
    let known = r#"{"labels":{"g":["G","Old"],"h":"H"},"notes":{"bob":{"labels":{"G":true,"Gone":true}},"eve":{}}}"#;
    let outcome = given_up_by(&["g"]).known(known).with(item(Both, &["G"])).decide();
    assert_eq!(outcome.stored, Some(item(Both, &["G"])), "the label is the user's choice");
    let mut provenance = Provenance::parse(outcome.text.as_bytes(), "host").unwrap();
    assert_eq!(provenance.released().collect::<Vec<_>>(), ["bob"]);
    let current = ["g".to_owned()].into();
    assert_eq!(provenance.outdated(&current), labels(&["H", "Old"]));
    provenance.forget(&current, &labels(&["H"]), &labels(&[]));
    assert_eq!(
        provenance.to_text().unwrap(),
        r#"{"labels":{"g":"G","h":"H"},"notes":{"bob":{"labels":{"G":true}},"eve":{}}}"#
    );
}

#[test]
fn a_contact_that_comes_back_before_the_save_is_as_it_was_brought() {
    let known = r#"{"labels":{"g":"G"},"notes":{"bob":{"subscription":"to","released":true}}}"#;
    let still = brought_by(&[G]).known(known).with(item(Both, &["G"])).decide();
    assert_eq!(still.text, r#"{"labels":{"g":"G"},"notes":{"bob":{"subscription":"to"}}}"#);
    let anew = brought_by(&[G]).known(known).with(item(Nothing, &[])).decide();
    assert_eq!(anew.text, r#"{"labels":{"g":"G"},"notes":{"bob":{"subscription":"none"}}}"#);
    let untouched = brought_by(&[G]).known(known).decide();
    assert_eq!((untouched.stored, untouched.text.as_str()), (Some(item(Both, &["G"])), r#"{"labels":{"g":"G"}}"#));
    let brought = r#"{"labels":{"g":"G"},"notes":{"bob":{"brought":true,"released":true}}}"#;
    let stripped = brought_by(&[G]).known(brought).with(item(Both, &["Mine"])).decide();
    assert!(stripped.text.contains(r#""bob":{"brought":true}"#), "{}", stripped.text);
    let ended = brought_by(&[G]).known(brought).with(item(To, &["Mine"])).decide();
    assert!(ended.text.contains(r#""bob":{"brought":true}"#), "{}", ended.text);
    let own = brought_by(&[G]).known(brought).with(item(Nothing, &["Mine"])).decide();
    assert!(own.text.contains(r#""bob":{"subscription":"none"}"#), "{}", own.text);
    let friend = r#"{"labels":{"g":"G"},"notes":{"bob":{"subscription":"to","released":true}}}"#;
    let stripped = brought_by(&[G]).known(friend).with(item(Both, &["Mine"])).decide();
    assert!(stripped.text.contains(r#""bob":{"subscription":"to"}"#), "{}", stripped.text);
    let chosen = r#"{"labels":{"g":"G"},"notes":{"bob":{"brought":true,"labels":{"G":true},"released":true}}}"#;
    let own = brought_by(&[G]).known(chosen).with(item(Nothing, &["G"])).decide();
    assert!(own.text.contains(r#""bob":{"subscription":"none","labels":{"G":true}}"#), "{}", own.text);
}

#[test]
fn a_renamed_group_relabels_its_contacts_but_not_what_the_user_chose() {
    let known = r#"{"labels":{"g":"Old"}}"#;
    let outcome = brought_by(&[G]).known(known).with(item(Both, &["Old", "Mine"])).decide();
    assert_eq!(outcome.stored, Some(item(Both, &["G", "Mine"])));
    assert_eq!(outcome.text, r#"{"labels":{"g":["G","Old"]}}"#, "the newest first");
    let chosen = r#"{"labels":{"g":"Old"},"notes":{"bob":{"labels":{"Old":true}}}}"#;
    let outcome = brought_by(&[G]).known(chosen).with(item(Both, &["Old"])).decide();
    assert_eq!(outcome.stored, Some(item(Both, &["G", "Old"])));
    let back = r#"{"labels":{"g":["Old","G"]}}"#;
    assert_eq!(brought_by(&[G]).known(back).decide().text, r#"{"labels":{"g":["G","Old"]}}"#);
}

#[test]
fn who_bears_a_label_before_it_is_given_does_so_by_the_users_choice() {
    let plan = |groups: &[(&'static str, &'static str)], known: Option<&str>, adopt, virtual_contacts| {
        let groups = groups.iter().map(|(id, label)| ((*id).to_owned(), (*label).to_owned())).collect();
        let section = Section { groups, contacts: 1, ..Section::default() };
        let plan = Plan { sections: vec![section], adopt, virtual_contacts, ..Plan::default() };
        new_labels(&plan, known.map(|text| Provenance::parse(text.as_bytes(), "host").unwrap()).as_ref())
    };
    assert_eq!(plan(&[G], None, false, false), labels(&["G"]));
    assert_eq!(plan(&[G], None, true, false), labels(&[]), "it is the Lua module's work");
    assert_eq!(plan(&[G], None, false, true), labels(&[]), "virtual contacts are given none");
    assert_eq!(plan(&[G], Some(r#"{"labels":{"g":"G"}}"#), false, false), labels(&[]));
    assert_eq!(plan(&[G], Some(r#"{"labels":{"h":"G"}}"#), false, false), labels(&[]), "another group gave it");
    let bearers = vec![("bob", item(To, &["G"])), ("eve", item(Both, &["G", "H"]))];
    let known = r#"{"labels":{"h":"H"}}"#;
    let outcome = Case { bearers, ..brought_by(&[G]) }.known(known).with(item(To, &["G"])).decide();
    assert!(outcome.text.contains(r#""bob":{"subscription":"to","labels":{"G":true}}"#), "{}", outcome.text);
    assert!(outcome.text.contains(r#""eve":{"brought":true,"labels":{"G":true}}"#), "{}", outcome.text);
}

#[test]
fn a_roster_without_provenance_is_the_lua_modules_work_only_while_that_is_taken_over() {
    let own = given_up_by(&["g"]).with(item(Both, &["G"])).decide();
    assert_eq!((own.stored, own.decision.change.unsaved), (Some(item(Both, &["G"])), false));
    let adopted = Case { adopt: true, ..given_up_by(&["g"]) }.with(item(Both, &["G"])).decide();
    assert_eq!(adopted.stored, None);
    let adopted = Case { adopt: true, ..brought_by(&[G]) }.with(item(Both, &["G"])).decide();
    assert_eq!(adopted.text, r#"{"labels":{"g":"G"}}"#, "nothing is noted as the user's own");
    assert!(adopted.decision.change.unsaved, "it would not be known later on");
    let usual = brought_by(&[G]).with(item(Both, &["G"])).decide();
    assert!(!usual.decision.change.unsaved, "storage that drops metadata is not written to each time");
}

#[test]
fn a_deleted_account_goes_from_where_only_groups_had_put_it() {
    let known = r#"{"labels":{"g":"G"}}"#;
    let case = |item| withdrawn().known(known).with(item).decide().stored;
    assert_eq!(case(item(Both, &["G"])), None);
    assert_eq!(case(item(Both, &[])), Some(item(Both, &[])), "Prosody ends the subscription of one of the user's own");
    for remade in [false, true] {
        let ended = Case { ended: true, remade, ..withdrawn() };
        for item in [item(Both, &[]), asked(item(To, &[]))] {
            assert_eq!(ended.clone().with(item).decide().stored, Some(self::item(Nothing, &[])), "a crash undid that");
        }
    }
    let own = r#"{"labels":{"g":"G"},"notes":{"bob":{"subscription":"to"}}}"#;
    let remade = Case { remade: true, ended: true, ..withdrawn() }.known(own).with(item(Both, &["G"])).decide();
    assert_eq!(remade.stored, Some(item(Nothing, &[])), "one of the user's own as well");
    let friend = Case { remade: true, ..withdrawn() }.with(item(Both, &[])).decide();
    assert_eq!(friend.stored, Some(item(Both, &[])), "a new friend");
    assert_eq!(case(called("Pal", item(Both, &["G"]))), Some(called("Pal", item(Nothing, &[]))));
    assert_eq!(case(item(Both, &["G", "Mine"])), Some(item(Nothing, &["Mine"])));
    let noted = r#"{"labels":{"g":"G"},"notes":{"bob":{"subscription":"to"}}}"#;
    let own = withdrawn().known(noted).with(asked(item(To, &["G"]))).decide();
    assert_eq!(own.stored, Some(item(Nothing, &[])));
    assert!(own.decision.lost.is_empty(), "there is nobody to tell");
    let stripped = r#"{"labels":{"g":"G"},"notes":{"bob":{"brought":true}}}"#;
    assert_eq!(withdrawn().known(stripped).with(item(Both, &[])).decide().stored, None);
    let again = Case { remade: true, ..withdrawn() };
    assert_eq!(again.clone().known(known).with(item(Both, &[])).decide().stored, Some(item(Both, &[])), "a new friend");
    let request = asked(item(Nothing, &[]));
    assert_eq!(again.clone().known(known).with(request.clone()).decide().stored, Some(request));
    let noted = again.clone().known(r#"{"labels":{"g":"G"},"notes":{"bob":{"subscription":"none"}}}"#);
    assert_eq!(noted.with(item(Both, &["G", "Mine"])).decide().stored, Some(item(Nothing, &["Mine"])), "as it was");
    assert_eq!(again.known(known).with(item(Both, &["G"])).decide().stored, None);
    let brought = Case { remade: true, ..brought_by(&[("h", "H")]) };
    let brought = brought.known(r#"{"labels":{"g":"G","h":"H"}}"#).with(item(Both, &["G"])).decide();
    assert_eq!(brought.stored, Some(item(Both, &["H"])), "nothing of the one before stays");
    let edit = Some(OwnEdit { name: Some("Pal".into()), groups: labels(&["Mine"]) });
    let brought = Case { remade: true, edit: edit.clone(), ..brought_by(&[G]) }.decide();
    let of_brought = (brought.stored, brought.edit);
    assert_eq!(of_brought, (Some(item(Both, &["G"])), None), "nor what the user made of it when it was virtual");
    assert_eq!(Case { edit, ..withdrawn() }.decide().edit, None);
    // Without provenance, the labels of the user's groups tell.
    assert_eq!(withdrawn().with(item(Both, &["G"])).decide().stored, None);
    assert_eq!(withdrawn().with(item(Both, &["H"])).decide().stored, Some(item(Both, &["H"])));
    assert_eq!(withdrawn().with(item(Nothing, &["G"])).decide().stored, Some(item(Nothing, &["G"])));
}

#[test]
fn a_contact_without_a_name_gets_one_and_loses_it_with_the_groups() {
    let known = r#"{"labels":{"g":"G"}}"#;
    let username = Case { naming: Naming::Username, ..brought_by(&[G]) };
    let outcome = username.clone().known(known).decide();
    assert_eq!(outcome.stored, Some(called("bob", item(Both, &["G"]))));
    assert_eq!(outcome.text, r#"{"labels":{"g":"G"},"usernames":true}"#);
    let nickname = Case { naming: Naming::Nickname, nickname: Some("Bobby"), ..brought_by(&[G]) };
    let outcome = nickname.clone().known(r#"{"labels":{"g":"G"},"usernames":true}"#);
    let outcome = outcome.with(called("bob", item(Both, &["G"]))).decide();
    assert_eq!(outcome.stored, Some(called("Bobby", item(Both, &["G"]))), "a given name follows");
    assert!(outcome.text.contains(r#""names":{"bob":"Bobby"}"#), "{}", outcome.text);
    let own = nickname.known(known).with(called("Pal", item(Both, &["G"]))).decide();
    assert_eq!(own.stored, Some(called("Pal", item(Both, &["G"]))));
    let unknown = Case { naming: Naming::Nickname, ..brought_by(&[G]) }.known(known);
    for item in [None, Some(item(Both, &["G"]))] {
        assert_eq!(Case { item, ..unknown.clone() }.decide().decision.unnamed, [1]);
    }
    assert!(unknown.with(called("Pal", item(To, &[]))).decide().decision.unnamed.is_empty());
    let username = called("bob", item(Both, &["G"]));
    let chosen = given_up_by(&["g"]).known(known).with(username.clone()).decide();
    assert_eq!(chosen.stored, Some(called("bob", item(Nothing, &[]))), "a username that nobody gave is the user's");
    let given = given_up_by(&["g"]).known(r#"{"labels":{"g":"G"},"usernames":true}"#);
    assert_eq!(given.clone().with(username).decide().stored, None);
    let other = called("Pal", item(Both, &["G"]));
    assert_eq!(given.with(other).decide().stored, Some(called("Pal", item(Nothing, &[]))));
    let named = r#"{"labels":{"g":"G"},"names":{"bob":"Bobby"}}"#;
    let given = || called("Bobby", item(Both, &["G"]));
    let gone = given_up_by(&["g"]).known(named).with(given()).decide();
    assert_eq!(gone.stored, None);
    assert!(gone.text.contains(r#""names""#) && gone.text.contains("released"), "known until the save: {}", gone.text);
    let marked = Item { groups: labels(&["G", "Mine"]), ..given() };
    assert_eq!(given_up_by(&["g"]).known(named).with(marked).decide().stored, Some(item(Nothing, &["Mine"])));
}

#[test]
fn contacts_that_are_not_there_are_brought_alike_and_each_gets_its_own_name() {
    let section = |(id, label): (&str, &str), names: &[Option<&str>]| Section {
        contacts: names.len(),
        verified: true,
        groups: vec![(id.to_owned(), label.to_owned())],
        names: names.iter().map(|name| name.map(str::to_owned)).collect(),
        ..Section::default()
    };
    let sections =
        vec![section(G, &[Some("Ann"), None]), section(("h", "H"), &[None, Some("Dora"), None, Some("Fay")])];
    let contacts: Vec<_> = ["ann", "bob", "carl", "dora", "eve", "fay"].map(Name::from).into();
    let mut plan = Plan { contacts, sections, naming: Naming::Nickname, stamp: Some(1), ..Plan::default() };
    let found = Comparison { absent: (1..=6).collect(), ..Comparison::default() };
    let known = r#"{"notes":{"eve":{"brought":true,"released":true}},"removed":["fay"]}"#;
    let known = Provenance::parse(known.as_bytes(), "host").unwrap();
    let nicknamed = decide(&plan, &found, Some(known), &[]);
    let edits = nicknamed.change.edits.iter().map(|edit| (&edit.contacts[..], edit.names.iter().flatten().collect()));
    let [ann, dora, fay] = ["Ann", "Dora", "Fay"].map(str::to_owned);
    let expected: [(&[u32], Vec<&String>); 4] =
        [(&[1], vec![&ann]), (&[2], vec![]), (&[3, 5], vec![]), (&[4, 6], vec![&dora, &fay])];
    assert_eq!(edits.collect::<Vec<_>>(), expected);
    assert_eq!((&nicknamed.unnamed[..], nicknamed.change.stamp), (&[2, 3, 5][..], None), "they are asked for theirs");
    let text = r#"{"labels":{"g":"G","h":"H"},"names":{"ann":"Ann","dora":"Dora","fay":"Fay"}}"#;
    assert_eq!(nicknamed.provenance.to_text().as_deref(), Some(text));
    let all = [1, 2, 3, 4, 5, 6];
    assert_eq!([&nicknamed.stored, &nicknamed.changed, &nicknamed.gained], [&all, &all, &all]);
    plan.naming = Naming::None;
    let nameless = decide(&plan, &found, None, &[]);
    assert_eq!((&nameless.unnamed[..], nameless.change.stamp), (&[][..], Some(1)));
}

#[test]
fn a_pending_request_is_answered_by_a_group_and_not_by_one_that_lets_go() {
    let known = r#"{"labels":{"g":"G"}}"#;
    let outcome = Case { pending: true, ..brought_by(&[G]) }.known(known).with(item(Both, &["G"])).decide();
    assert_eq!((&outcome.decision.change.answered[..], outcome.decision.change.unsaved), (&[1][..], true));
    assert!(outcome.decision.changed.is_empty(), "which is not pushed");
    let up = Case { pending: true, ..given_up_by(&["g"]) }.known(known).with(item(Both, &["G"])).decide();
    assert!(up.decision.change.answered.is_empty());
    let gone = Case { pending: true, ..withdrawn() };
    assert_eq!(gone.clone().known(known).decide().decision.change.answered, [1]);
    let again = Case { remade: true, ..gone }.known(known).decide();
    assert!(again.decision.change.answered.is_empty(), "it is the next account's");
}

#[test]
fn a_roster_read_from_storage_with_a_version_of_which_clients_may_know_another_content_takes_a_new_one() {
    let read = |version, unsaved, fresh| {
        let plan = Plan { version: 100, doubtful: [5..8, 20..30], ..Plan::default() };
        let found = Comparison { version, unsaved, fresh, ..Comparison::default() };
        let change = decide(&plan, &found, None, &[]).change;
        assert_eq!(change.unsaved, change.version.is_some());
        change.version
    };
    assert_eq!([7, 29].map(|number| read(Version::Number(number), false, true)), [Some(100); 2]);
    assert_eq!(read(Version::Number(300), true, true), Some(301), "not all that the version stands for was stored");
    assert_eq!([4, 8, 30].map(|number| read(Version::Number(number), false, true)), [None; 3]);
    assert_eq!(read(Version::Number(7), true, false), None, "what is in memory is what clients know");
    assert_eq!(read(Version::Fixed, true, true), None, "another module makes it");
}

#[test]
fn presence_is_given_to_who_can_see_it_only_now() {
    let known = r#"{"labels":{"g":"G"}}"#;
    let brought = |item| brought_by(&[G]).known(known).with(item).decide().decision;
    let to = brought(item(To, &["G"]));
    assert_eq!((&to.opened[..], &to.gained[..]), (&[1][..], &[][..]));
    let from = brought(item(From, &["G"]));
    assert_eq!((&from.opened[..], &from.gained[..]), (&[][..], &[1][..]));
}

#[test]
fn presence_is_taken_from_who_can_see_it_no_more() {
    let known = r#"{"labels":{"g":"G"},"notes":{"bob":{"subscription":"from"}}}"#;
    let given_up = |item| given_up_by(&["g"]).known(known).with(item).decide().decision;
    let both = given_up(item(Both, &["G"]));
    assert_eq!((&both.lost[..], &both.shut[..]), (&[1][..], &[][..]), "the contact may still see the user");
    let known = r#"{"labels":{"g":"G"},"notes":{"bob":{"subscription":"to"}}}"#;
    let given_up = |item| given_up_by(&["g"]).known(known).with(item).decide().decision;
    let both = given_up(item(Both, &["G"]));
    assert_eq!((&both.lost[..], &both.shut[..]), (&[][..], &[1][..]), "the user may still see the contact");
}

#[test]
fn a_clients_edit_tells_what_the_user_chose() {
    let edit = |known: &str, item: Option<Item>, groups: &[&str]| {
        let mut provenance = Provenance::parse(known.as_bytes(), "host").unwrap();
        let changed = note_edit(&mut provenance, "bob", item.as_ref(), &labels(groups));
        (provenance.to_text().unwrap_or_default(), changed)
    };
    let known = r#"{"labels":{"g":"G"}}"#;
    let noted = |note: &str| format!(r#"{{"labels":{{"g":"G"}},"notes":{{"bob":{note}}}}}"#);
    let brought = Some(item(Both, &["G"]));
    assert_eq!(edit(known, brought.clone(), &["G", "Mine"]), (known.to_owned(), false));
    assert_eq!(edit(known, brought, &["Mine"]), (noted(r#"{"brought":true}"#), true));
    let own = Some(item(Both, &[]));
    assert_eq!(edit(known, own, &["G"]), (noted(r#"{"labels":{"G":true}}"#), true));
    let chosen = noted(r#"{"labels":{"G":true}}"#);
    assert_eq!(edit(&chosen, Some(item(Both, &["G"])), &[]).0, noted("{}"), "and takes the choice back");
    assert_eq!(edit(&noted(r#"{"subscription":"to"}"#), None, &[]).0, known, "a contact that is added anew is own");
    assert_eq!(edit(&noted(r#"{"brought":true,"released":true}"#), Some(item(Nothing, &[])), &[]).0, known);
}

#[test]
fn an_edit_of_a_virtual_contact_tells_what_the_user_chose_of_the_item_below() {
    let engine = Engine::new("host", Options::default());
    let edit = |known: &str, groups: &[&str]| {
        let (known, bob) = (Some(known.as_bytes()), Name::from("bob"));
        engine.note_virtual_edit(known, &bob, &item(Nothing, &[]), &labels(&["G"]), &labels(groups))
    };
    let known = r#"{"labels":{"g":"G","h":"H"}}"#;
    let chosen = r#"{"labels":{"g":"G","h":"H"},"notes":{"bob":{"labels":{"H":true}}}}"#;
    assert_eq!(edit(known, &["G", "Mine"]), None, "a group brings that label");
    assert_eq!(edit(known, &["G", "H"]), Some(Some(chosen.to_owned())));
    assert_eq!(
        edit(r#"{"labels":{"g":"G"},"notes":{"bob":{"released":true}}}"#, &["G"]),
        Some(Some(r#"{"labels":{"g":"G"}}"#.to_owned())),
        "what was given up is the user's own"
    );
}

#[test]
fn a_subscription_that_is_changed_by_presence_makes_what_was_given_up_the_users_own() {
    let engine = Engine::new("host", Options::default());
    let noted = |text: &str| engine.note_subscription(Some(text.as_bytes()), &Name::from("bob"));
    let released = r#"{"labels":{"g":"G"},"notes":{"bob":{"subscription":"to","labels":{"G":true},"released":true}}}"#;
    let own = r#"{"labels":{"g":"G"},"notes":{"bob":{"labels":{"G":true}}}}"#;
    assert_eq!(noted(released), Some(Some(own.to_owned())));
    assert_eq!(noted(r#"{"notes":{"bob":{"released":true}}}"#), Some(None), "nothing is left to remember");
    for other in [r#"{"notes":{"bob":{"subscription":"to"}}}"#, r#"{"labels":{"g":"G"}}"#, "damaged"] {
        assert_eq!(noted(other), None, "{other}");
    }
}

#[test]
fn a_contact_that_a_group_had_brought_and_the_user_removes_is_remembered_until_it_is_brought_again() {
    let removed = |known: &str, item: Item| {
        let mut provenance = Provenance::parse(known.as_bytes(), "host").unwrap();
        note_removal(&mut provenance, "bob", Some(&item)).then(|| provenance.to_text().unwrap_or_default())
    };
    let text = removed(r#"{"labels":{"g":"G"}}"#, item(Both, &["G"])).unwrap();
    assert_eq!(Provenance::parse(text.as_bytes(), "host").unwrap().noted().collect::<Vec<_>>(), ["bob"]);
    assert_eq!(removed(r#"{"labels":{"g":"G"}}"#, item(Both, &["Mine"])), None, "that was the user's own");
    // What it was before is of no account for a contact that the user makes of it afterwards.
    let own = removed(r#"{"labels":{"g":"G"},"notes":{"bob":{"subscription":"none"}}}"#, item(Both, &["G"])).unwrap();
    let own: &'static str = own.leak();
    let befriended = Case { stale: true, ..given_up_by(&["g"]) }.known(own).with(item(Both, &[]));
    assert_eq!(befriended.decide().stored, Some(item(Both, &[])));
    // Where storage turns out to have it still, it goes with the groups, whatever the user had chosen before.
    let chosen =
        removed(r#"{"labels":{"g":"G"},"notes":{"bob":{"brought":true,"labels":{"G":true}}}}"#, item(Both, &["G"]));
    let chosen: &'static str = chosen.unwrap().leak();
    assert_eq!(given_up_by(&["g"]).known(chosen).with(item(Both, &["G"])).decide().stored, None);
    let again = brought_by(&[G]).known(r#"{"labels":{"g":"G"},"removed":["bob"]}"#).decide();
    assert!(!again.text.contains("removed"), "{}", again.text);
}

#[test]
fn the_list_of_a_contact_that_groups_held_and_somebody_has_taken_from_them_is_doubted() {
    let known = r#"{"labels":{"g":"G"}}"#;
    let own = r#"{"labels":{"g":"G"},"notes":{"bob":{"subscription":"to"}}}"#;
    let regains = |case: Case| !case.decide().decision.regained.is_empty();
    let cancelled = brought_by(&[G]).known(known).with(item(To, &["G"]));
    assert!(regains(cancelled.clone()));
    assert!(regains(brought_by(&[G]).known(own).with(item(To, &["Mine"]))), "without a label");
    assert!(regains(brought_by(&[G]).known(r#"{"labels":{"g":"G"},"removed":["bob"]}"#)));
    assert!(!regains(brought_by(&[G]).known(known).with(item(To, &[]))), "groups bring it for the first time");
    assert!(!regains(brought_by(&[G]).known(known).with(item(Both, &["Mine"]))));
    assert!(!regains(brought_by(&[G]).known(known)));
    assert!(
        !regains(Case { remade: true, ended: true, ..cancelled }),
        "the list of a new account is reconciled anyway"
    );
    let mut held = Provenance::parse(own.as_bytes(), "host").unwrap();
    assert!(note_removal(&mut held, "bob", Some(&item(Both, &["Mine"]))));
    assert!(regains(brought_by(&[G]).known(held.to_text().unwrap().leak())));
}

#[test]
fn a_contact_that_the_user_has_changed_for_the_session_loses_no_more_than_the_labels_of_groups_that_were_left() {
    let known = r#"{"labels":{"g":"G","h":"H","k":"K"}}"#;
    let spared = Case { tie: Tie::Spare, left: vec!["h"], ..brought_by(&[G]) }.known(known);
    let outcome = spared.clone().with(item(From, &["H", "Mine", "K"])).decide();
    assert_eq!(outcome.stored, Some(item(From, &["K", "Mine"])));
    assert_eq!(outcome.text, known, "what still bears a label needs no note");
    assert_eq!(spared.clone().with(item(From, &["Mine"])).decide().text, known, "nor does one of the user's own");
    let own = r#"{"labels":{"g":"G","h":"H"},"notes":{"bob":{"subscription":"to"}}}"#;
    let outcome = Case { tie: Tie::Spare, ..given_up_by(&["h"]) }.known(own).with(item(From, &["H"])).decide();
    assert_eq!(outcome.text, own, "which stays so");
    let last = spared.clone().with(item(From, &["H"])).decide();
    let last: &'static str = last.text.leak();
    let gone = given_up_by(&["g"]).known(last).with(item(From, &[])).decide();
    assert_eq!(gone.stored, None, "only groups had put it there");
    let virtual_now = Case { virtual_contacts: true, ..spared.clone() };
    let outcome = virtual_now.clone().with(item(From, &["H", "Mine", "K"])).decide();
    assert_eq!((outcome.stored, outcome.shown), (None, Some(item(From, &["G", "K", "Mine"]))), "it becomes virtual");
    assert_eq!(outcome.edit, Some(OwnEdit { name: None, groups: labels(&["K", "Mine"]) }));
    let outcome = virtual_now.clone().with(item(Both, &["Mine"])).decide();
    assert!(outcome.decision.change.edits.is_empty(), "one of the user's own does not");
    let covered = Case { covered: true, below: Some(item(To, &["H"])), ..virtual_now }.with(item(From, &["G"]));
    assert!(covered.decide().decision.change.edits.is_empty(), "what is below a virtual contact is the user's");
    assert_eq!(spared.decide().stored, None, "what is off the list stays off");
}

#[test]
fn contacts_that_change_alike_take_one_step_unless_it_keeps_what_their_user_has_made_of_them() {
    let groups = vec![("g".to_owned(), "G".to_owned())];
    let sections = vec![Section { contacts: 2, verified: true, groups, ..Section::default() }];
    let contacts = vec!["ann".into(), "bob".into()];
    let edits = |virtual_contacts, item: Item| {
        let facts = [1, 2].map(|number| Fact { number, item: Some(item.clone()), ..Fact::default() }).into();
        let plan = Plan { sections: sections.clone(), contacts: contacts.clone(), virtual_contacts, ..Plan::default() };
        let known = Provenance::parse(br#"{"labels":{"g":["G","Old"]}}"#, "host").ok();
        let decision = decide(&plan, &Comparison { facts, ..Comparison::default() }, known, &[]);
        decision.change.edits.into_iter().map(|edit| edit.contacts).collect::<Vec<_>>()
    };
    assert_eq!(edits(false, item(Both, &["Old"])), [[1, 2]]);
    assert_eq!(edits(true, item(Both, &["G"])), [[1, 2]]);
    assert_eq!(edits(true, item(Both, &["G", "Mine"])), [[1], [2]]);
}

#[test]
fn a_virtual_contact_is_laid_over_the_users_own() {
    let shown = Case { virtual_contacts: true, ..brought_by(&[G]) };
    let outcome = shown.clone().decide();
    assert_eq!((outcome.stored, outcome.shown), (None, Some(item(Both, &["G"]))));
    assert!(!outcome.decision.change.unsaved && outcome.decision.stored.is_empty());
    let own = called("Pal", item(To, &["Mine"]));
    let outcome = shown.clone().with(own.clone()).decide();
    assert_eq!(outcome.stored, Some(own.clone()));
    assert_eq!(outcome.shown, Some(called("Pal", item(Both, &["G", "Mine"]))));
    let edit = Some(OwnEdit { name: Some("Pal".into()), groups: labels(&["Mine"]) });
    let outcome = Case { edit: edit.clone(), ..shown.clone() }.decide();
    assert_eq!((outcome.stored, outcome.edit), (None, edit.clone()));
    assert_eq!(outcome.shown, Some(called("Pal", item(Both, &["G", "Mine"]))));
    let settled = Case { covered: true, edit: edit.clone(), ..shown.clone() };
    let settled = settled.with(called("Pal", item(Both, &["G", "Mine"]))).decide();
    assert!(settled.decision.change.edits.is_empty());
    let renamed = Case { covered: true, ..shown.clone() }.with(item(Both, &["Old"])).decide();
    assert_eq!(renamed.shown, Some(item(Both, &["G"])), "it follows the group's name");
    let gone = Case { virtual_contacts: true, covered: true, below: Some(own.clone()), ..given_up_by(&["g"]) };
    let outcome = gone.with(item(Both, &["G"])).decide();
    assert_eq!((outcome.shown, outcome.stored), (Some(own.clone()), Some(own)));
    let gone = Case { virtual_contacts: true, covered: true, edit: edit.clone(), ..given_up_by(&["g"]) };
    let outcome = gone.with(item(Both, &["G"])).decide();
    assert_eq!((outcome.shown, outcome.edit), (None, edit.clone()), "what the user made of it is kept");
    let deleted = Case { virtual_contacts: true, covered: true, edit, ..withdrawn() };
    let outcome = deleted.with(item(Both, &["G"])).decide();
    assert_eq!((outcome.shown, outcome.edit), (None, None));
    // A label that the user chose as well stays when the contact is stored and given up.
    let chosen = Some(OwnEdit { name: None, groups: labels(&["G"]) });
    let stored = Case { edit: chosen, ..brought_by(&[G]) }.decide();
    let known: &'static str = stored.text.leak();
    let left = given_up_by(&["g"]).known(known).with(stored.stored.unwrap()).decide();
    assert_eq!(left.stored, Some(item(Nothing, &["G"])));
    // And one that another group gives others.
    let elsewhere = Some(OwnEdit { name: None, groups: labels(&["H"]) });
    let stored = Case { edit: elsewhere, ..brought_by(&[G]) }.known(r#"{"labels":{"g":"G","h":"H"}}"#).decide();
    let known: &'static str = stored.text.leak();
    let left = given_up_by(&["h"]).known(known).with(stored.stored.unwrap()).decide();
    assert_eq!(left.stored, Some(item(Both, &["G", "H"])));
    let left = given_up_by(&["g"]).known(known).with(left.stored.unwrap()).decide();
    assert_eq!(left.stored, Some(item(Nothing, &["H"])), "brought it was all the same");
}

#[test]
fn what_groups_brought_into_storage_is_cleared_away_below_a_virtual_contact() {
    let ended = Case { virtual_contacts: true, remade: true, ended: true, ..brought_by(&[G]) };
    assert_eq!(ended.known("{}").with(item(Both, &[])).decide().stored, Some(item(Nothing, &[])), "a crash undid that");
    let shown = |known, item| Case { virtual_contacts: true, ..brought_by(&[G]) }.known(known).with(item).decide();
    let known = r#"{"labels":{"g":"G"}}"#;
    let outcome = shown(known, item(Both, &["G"]));
    assert_eq!((outcome.stored, outcome.edit), (None, None));
    assert!(outcome.decision.change.unsaved && outcome.decision.changed.is_empty(), "clients see no difference");
    let outcome = shown(known, called("Pal", item(Both, &["G", "Mine"])));
    assert_eq!(outcome.stored, None);
    assert_eq!(outcome.edit, Some(OwnEdit { name: Some("Pal".into()), groups: labels(&["Mine"]) }));
    let noted = r#"{"labels":{"g":"G"},"notes":{"bob":{"subscription":"to"}}}"#;
    assert_eq!(shown(noted, item(Both, &["G"])).stored, Some(item(To, &[])));
    let mine = || called("Pal", item(Both, &["Mine"]));
    let stripped = shown(r#"{"labels":{"g":"G"},"notes":{"bob":{"brought":true}}}"#, mine());
    assert_eq!((stripped.stored, stripped.edit), (None, outcome.edit), "the labels had been taken off");
    let settled = Item { subscription: Nothing, ..mine() };
    let outcome = shown(r#"{"labels":{"g":"G"},"notes":{"bob":{"brought":true,"released":true}}}"#, settled.clone());
    assert_eq!((outcome.stored, outcome.edit), (Some(settled), None), "what was given up is the user's");
    let left = r#"{"labels":{"g":"G","h":"H"}}"#;
    assert_eq!(shown(left, item(Both, &["G", "H"])).stored, Some(item(Both, &["H"])), "left behind by another");
    let back = Case { edit: Some(OwnEdit { name: Some("Pal".into()), groups: labels(&["Mine"]) }), ..brought_by(&[G]) };
    let outcome = back.decide();
    assert_eq!((outcome.stored, outcome.edit), (Some(called("Pal", item(Both, &["G", "Mine"]))), None));
}

#[test]
fn what_somebody_makes_of_a_virtual_contact_goes_into_the_users_layer() {
    let take = |replaced: Replaced| {
        let mut outcome = Outcome {
            decision: Decision::default(),
            stored: replaced.below.clone(),
            shown: None,
            edit: replaced.edit.clone(),
            text: String::new(),
        };
        let TakenIn { step, name, digest } = take_in("bob", 3, &replaced);
        outcome.take(&step, name, true);
        let shown = outcome.shown.unwrap_or_default();
        assert_eq!(digest != 3, shown.subscription != Both || shown.ask, "another number where another list is shown");
        (outcome.stored, outcome.edit, shown)
    };
    let at = |item| Replaced { labels: labels(&["G"]), item: Some(item), ..Replaced::default() };
    let edited = called("Pal", item(Both, &["G", "Mine"]));
    let edit = OwnEdit { name: Some("Pal".into()), groups: labels(&["Mine"]) };
    assert_eq!(take(at(edited.clone())), (None, Some(edit.clone()), edited.clone()));
    let given = called("bob", item(Both, &["G"]));
    let same = Replaced { name: Some("bob".into()), ..at(given.clone()) };
    assert_eq!(take(same), (None, None, given), "a name that was shown is no name of the user's");
    let below = Some(item(From, &["G", "Old"]));
    let (stored, none, _) = take(Replaced { below: below.clone(), ..at(edited) });
    assert_eq!((stored, none), (Some(called("Pal", item(From, &["G", "Mine"]))), None), "an own label stays own");
    let (stored, _, shown) = take(Replaced { below: below.clone(), ..at(item(To, &["G"])) });
    assert_eq!((stored.unwrap().subscription, shown.subscription), (Nothing, To));
    let (stored, _, shown) = take(Replaced { below: below.clone(), ..at(asked(item(From, &["G"]))) });
    assert_eq!((stored.unwrap().ask, shown.ask), (true, true), "who asks for presence does so below as well");
    let undone = Replaced { edit: Some(edit.clone()), name: Some("Pal".into()), ..at(item(Both, &["G"])) };
    assert_eq!(take(undone).1, None);
    let removed = Replaced { labels: labels(&["G"]), below, edit: Some(edit), ..Replaced::default() };
    assert_eq!(take(removed), (None, None, Item::default()), "nothing stays of what is taken off the list");
}

#[test]
fn each_list_that_deviates_has_a_number_of_its_own() {
    let contacts: Vec<_> = (0..20).map(|number| format!("contact{number}")).collect();
    let digests = |shown| contacts.iter().map(move |contact| take_in(contact, shown, &Replaced::default()).digest);
    let digests: HashSet<_> = digests(3).chain(digests(5)).collect();
    assert_eq!(digests.len(), 2 * contacts.len());
    assert!(digests.iter().all(|digest| digest % 2 == 1 && *digest < 1 << 27), "zero is for nothing");
}

#[test]
fn of_a_damaged_record_of_virtual_contacts_what_is_as_it_should_be_counts() {
    let text = |text: &str| Value::text(text.as_bytes());
    let edit = |name, groups| Value::table(vec![(text("name"), name), (text("groups"), groups)]);
    let mine = || Value::set([&b"Mine"[..]].into_iter());
    let table =
        |entries: Vec<(&str, Value)>| Value::table(entries.into_iter().map(|(jid, edit)| (text(jid), edit)).collect());
    let good = || ("bob@h", edit(text("Pal"), mine()));
    let read = read_edits(Some(&table(vec![good(), ("eve@h", Value::empty())])));
    let pal = OwnEdit { name: Some("Pal".into()), groups: labels(&["Mine"]) };
    let both = [("bob@h".to_owned(), pal.clone()), ("eve@h".to_owned(), OwnEdit::default())];
    assert_eq!(read, (both.into(), false));
    for bad in [Value::Bool(true), edit(Value::Bool(true), mine()), edit(text("Pal"), text("Mine"))] {
        let read = read_edits(Some(&table(vec![good(), ("eve@h", bad)])));
        assert_eq!(read, ([("bob@h".to_owned(), pal.clone())].into(), true));
    }
    assert_eq!(read_edits(None), (Default::default(), false));
    assert_eq!(read_edits(Some(&text("x"))), (Default::default(), true));
}

#[test]
fn a_version_of_a_virtual_list_tells_the_stored_one_and_what_groups_bring() {
    assert_eq!(virtual_version(5, 0), 5);
    let versions = [virtual_version(5, 3), virtual_version(6, 3), virtual_version(5, 5)];
    assert!(versions.iter().all(|version| version % 2 == 0 && *version < 1 << 46));
    assert!(versions[0] < versions[1], "it grows with the stored one");
    assert!(versions[0] != versions[2] && versions[1] != versions[2]);
    assert_ne!(virtual_version((1 << 24) + 5, 3), versions[0], "a later start counts from a higher number");
}

#[test]
fn damaged_provenance_is_refused_whole_and_that_of_version_1_0_0_is_read() {
    for damaged in ["", "7", "{", r#"{"labels":7}"#, r#"{"notes":{"bob":7}}"#, r#"{"notes":{"bob":{"labels":"x"}}}"#] {
        assert!(Provenance::parse(damaged.as_bytes(), "host").is_err(), "{damaged}");
    }
    let old = r#"{"labels":{"g":["G","Old"]},"notes":{"bob@host":{"labels":{"G":true}},"eve@else":{}},
        "names":{"bob@host":"Bobby","eve@else":"E"},"usernames":true}"#;
    let read = Provenance::parse(old.as_bytes(), "host").unwrap().to_text().unwrap();
    assert_eq!(
        read,
        r#"{"labels":{"g":["G","Old"]},"notes":{"bob":{"labels":{"G":true}}},"names":{"bob":"Bobby"},"usernames":true}"#
    );
}

#[test]
fn a_provenance_stored_as_a_table_reads_like_its_text() {
    use crate::engine::Value;
    let text = |text: &str| Value::text(text.as_bytes());
    let given = Value::table(vec![(Value::Integer(1), text("New")), (Value::Integer(2), text("Old"))]);
    let note = Value::table(vec![(text("ask"), text("subscribe")), (text("brought"), Value::Bool(true))]);
    let stored = Value::table(vec![
        (text("labels"), Value::table(vec![(text("g"), given)])),
        (text("notes"), Value::table(vec![(text("bob@host"), note)])),
        (text("names"), Value::empty()),
    ]);
    let read = Provenance::parse(stored.to_json().unwrap().as_bytes(), "host").unwrap();
    assert_eq!(read.given_for("g"), ["New", "Old"]);
    assert!(read.note("bob").is_some_and(|note| note.ask && note.brought));
}
