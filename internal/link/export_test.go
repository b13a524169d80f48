package link

// RawURIs is rawURIs, for tests.
var RawURIs = rawURIs
