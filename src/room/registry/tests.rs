use proptest::prelude::*;

use super::{
    model::{self, Guest, selected},
    *,
};

fn registry(names: &[&str]) -> (Registry<Guest>, Vec<Guest>) {
    let mut registry = Registry::default();
    let guests: Vec<Guest> = names.iter().zip(1..).map(|(name, number)| Guest::named(number, name)).collect();
    for guest in &guests {
        registry.insert(guest.clone());
    }
    (registry, guests)
}

#[test]
fn a_member_of_several_target_rooms_is_selected_once() {
    let (mut registry, guests) = registry(&["a", "b", "c"]);
    for room in ["x", "y"].map(Room::from) {
        registry.join(guests[0].id(), &room);
        registry.join(guests[1].id(), &room);
    }
    assert_eq!(selected(&registry, &["x", "y", "a"], &[], None), [1, 2]);
    assert_eq!(selected(&registry, &["x"], &["b"], None), [1]);
    assert_eq!(selected(&registry, &[], &["x"], None), [3]);
    assert!(selected(&registry, &["nowhere"], &[], None).is_empty());
}

#[test]
fn each_member_is_in_the_room_of_its_own_name_and_others_may_join_it() {
    let (mut registry, guests) = registry(&["a", "b"]);
    assert_eq!(selected(&registry, &["a"], &[], None), [1]);
    assert!(registry.join(guests[1].id(), &"a".into()).is_some());
    assert!(registry.join(guests[0].id(), &"a".into()).is_none());
    assert_eq!(selected(&registry, &["a"], &[], None), [1, 2]);
    assert_eq!(registry.rooms_of(guests[0].id()), ["a"]);
}

#[test]
fn a_snapshot_does_not_change_when_members_leave() {
    let (mut registry, guests) = registry(&["a"]);
    let snapshot = registry.select(&Selection::default(), None);
    registry.remove(guests[0].id());
    assert_eq!(snapshot.iter().count(), 1);
    assert_eq!(registry.len(), 0);
}

#[test]
fn a_snapshot_does_not_change_when_a_crowd_leaves() {
    let names: Vec<String> = (0..1000).map(|number| format!("m{number}")).collect();
    let (mut registry, guests) = registry(&names.iter().map(String::as_str).collect::<Vec<_>>());
    for guest in &guests {
        registry.join(guest.id(), &"x".into());
    }
    let snapshots = [&["x"][..], &[]].map(|to| {
        let selection = Selection { rooms: to.iter().map(|room| Room::from(*room)).collect(), except: Vec::new() };
        registry.select(&selection, Some(guests[999].id()))
    });
    guests[..990].iter().for_each(|guest| drop(registry.remove(guest.id())));
    for snapshot in snapshots {
        assert_eq!(snapshot.iter().count(), 999);
    }
    assert_eq!(selected(&registry, &["x"], &["m999"], None), (991..1000).collect::<Vec<_>>());
}

#[test]
fn members_of_a_room_share_its_name() {
    let (mut registry, guests) = registry(&["a", "b"]);
    let first = registry.join(guests[0].id(), &"x".into()).cloned().unwrap();
    let second = registry.join(guests[1].id(), &"x".into()).cloned().unwrap();
    assert!(std::ptr::eq(first.as_str(), second.as_str()));
}

#[test]
fn memory_is_freed_after_most_members_have_left() {
    let names: Vec<String> = (0..10_000).map(|number| format!("m{number}")).collect();
    let (mut registry, guests) = registry(&names.iter().map(String::as_str).collect::<Vec<_>>());
    // The last one stays, which has the last index everywhere.
    let last = &guests[9_999];
    for (number, guest) in guests.iter().enumerate() {
        registry.join(guest.id(), &"all".into());
        registry.join(guest.id(), &format!("room {number}").into());
        registry.join(last.id(), &format!("room {number}").into());
    }
    let largest = |registry: &Registry<Guest>| registry.capacities().skip(5).map(|(_, capacity)| capacity).max();
    assert!(largest(&registry) > Some(10_000));
    for (number, guest) in guests[..9_999].iter().enumerate() {
        registry.leave(last.id(), &format!("room {number}"));
        registry.leave(guest.id(), "all");
    }
    // Each room still has a member, and each member a room.
    assert!(largest(&registry) <= Some(16));
    assert_eq!(registry.rooms().len(), 10_001);
    guests[..9_999].iter().for_each(|guest| drop(registry.remove(guest.id())));
    assert!(registry.capacities().all(|(_, capacity)| capacity <= 16));
    let own = format!("room {}", 9_999);
    assert_eq!(selected(&registry, &[&own], &[], None), [10_000]);
    assert_eq!(selected(&registry, &["all", "m9999"], &[], None), [10_000]);
}

proptest! {
    #[test]
    fn the_registry_agrees_with_a_model(script in prop::collection::vec(any::<u8>(), 0..100)) {
        model::run(&script);
    }
}

#[test]
fn changes_of_rooms_are_recorded_in_order() {
    let mut registry = Registry::recording();
    let (a, b) = (Guest::named(1, "a"), Guest::named(2, "b"));
    let taken = |registry: &mut Registry<Guest>| {
        let changes = registry.take_changes().unwrap_or_default();
        changes.into_iter().map(|change| format!("{:?} {}", change.kind, &*change.room)).collect::<Vec<_>>()
    };
    registry.insert(a.clone());
    registry.insert(b.clone());
    assert_eq!(taken(&mut registry), ["Created a", "Joined a", "Created b", "Joined b"]);
    registry.join(b.id(), &"x".into());
    registry.join(a.id(), &"x".into());
    registry.join(a.id(), &"x".into());
    assert_eq!(taken(&mut registry), ["Created x", "Joined x", "Joined x"]);
    registry.leave(b.id(), "x");
    registry.leave(b.id(), "x");
    registry.leave(a.id(), "x");
    assert_eq!(taken(&mut registry), ["Left x", "Left x", "Deleted x"]);
    // The name of a member is a room while the member or others are in it.
    registry.join(b.id(), &"a".into());
    registry.remove(a.id());
    assert_eq!(taken(&mut registry), ["Joined a", "Left a"]);
    registry.remove(b.id());
    assert_eq!(taken(&mut registry), ["Left b", "Deleted b", "Left a", "Deleted a"]);
    assert!(registry.take_changes().is_none());
    assert!(Registry::<Guest>::default().take_changes().is_none());
}

#[test]
fn the_name_of_a_member_belongs_to_its_successor() {
    let (mut registry, guests) = registry(&["a", "a"]);
    assert_eq!(selected(&registry, &["a"], &[], None), [2]);
    registry.remove(guests[0].id());
    assert_eq!(selected(&registry, &["a"], &[], None), [2]);
    registry.remove(guests[1].id());
    assert!(registry.get("a").is_none());
}
