"""Distribution's storage tree on a disk: paths, listings, links, drafts, quarantine, lock."""
