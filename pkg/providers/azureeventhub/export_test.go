package azureeventhub

// Retries are the SDK's, for tests that cannot wait for them.
var Retries = &retries
