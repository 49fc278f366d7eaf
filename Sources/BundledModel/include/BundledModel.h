// A target for the files of the bundled model alone: Swift targets with resources link all of Foundation.
