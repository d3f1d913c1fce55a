"""Records to numbers: what each part of a report shows, without markup."""
