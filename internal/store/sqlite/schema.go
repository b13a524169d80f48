package sqlite

// migrations bring a database from one schema version to the next, forward
// only. A released entry never changes; a change is a further entry.
//
// Runs, workflows and texts that repeat have small integers as keys, times are
// microseconds since 1970, statuses are numbers of package event. wake_at is
// null when nothing is due and 1 when something came from outside.
var migrations = []string{`
create table names(id integer primary key, text text not null unique) strict;

create table definitions(digest text primary key, source blob not null) strict, without rowid;
create table workflows(name text primary key, family text not null, digest text not null) strict, without rowid;
create index workflows_family on workflows(family);

create table owners(id integer primary key autoincrement, name text not null unique) strict;

create table runs(
	id integer primary key,
	uuid blob not null unique,
	definition integer not null,
	family integer not null,
	workflow integer not null,
	status integer not null,
	started integer not null,
	ended integer,
	cause integer not null,
	parent blob,
	owner integer,
	wake_at integer,
	error text,
	priority integer not null,
	flags integer not null,
	directory integer not null,
	labels text
) strict;
create index runs_live on runs(owner, wake_at) where ended is null;
create index runs_family on runs(family);
create table labels(label text not null, run integer not null, primary key(label, run)) strict, without rowid;
create table slots(name text not null, run integer not null, primary key(name, run)) strict, without rowid;
create index slots_run on slots(run);

create table journal(id integer primary key, key integer not null, at integer not null, revision integer not null, hash integer not null, data blob not null) strict;
create unique index journal_key on journal(key);
create table snapshots(run integer primary key, sequence integer not null, state blob not null) strict;

create table payloads(digest blob primary key, packed integer not null, data blob not null) strict;
create table payload_refs(run integer not null, digest blob not null, primary key(run, digest)) strict, without rowid;
create index payload_refs_digest on payload_refs(digest);

create table inbox(id integer primary key autoincrement, run integer not null, kind integer not null, key text, data blob, at integer not null) strict;
create unique index inbox_once on inbox(run, key);

create table events(sequence integer primary key autoincrement, source text not null, id text not null, type text not null, data blob not null, at integer not null) strict;
create unique index events_once on events(source, id);
create index events_type on events(type);
create table subscriptions(type text not null, run integer not null, activation text not null, primary key(type, run, activation)) strict, without rowid;
create index subscriptions_run on subscriptions(run);

create table keys(scope text not null, key text not null, run blob not null, primary key(scope, key)) strict, without rowid;
create index keys_run on keys(run);
`, `
create table schedules(workflow text not null, property text not null, text text not null, began integer not null, due integer not null,
	run blob, cursor integer not null, state blob, version integer not null, primary key(workflow, property)) strict, without rowid;
`}

// A journal row's key holds its run and its sequence, so that one comparison of
// integers finds it. There is room for 5·10^11 runs of 16 million rows each.
const (
	sequenceBits = 24
	maxSequence  = 1<<sequenceBits - 1
)

func journalKey(run, sequence int64) int64 { return run<<sequenceBits | sequence }

// flags of a run.
const (
	flagEmbedded = 1 << iota
	flagInterrupted
)

// applicationID marks a database file as Downbeat's ("DwnB").
const applicationID = 0x44776e42
