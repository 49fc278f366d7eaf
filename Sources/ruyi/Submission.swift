import RuyiEngine
import RuyiHub

/// What `ruyi submit` does with an order.
struct Submission {
    let given: Given<SubmitCommand.Options>
    let order: Order
    let server: ServerSettings
    let reporter: Reporter
    let cancellation: Cancellation
    /// Whether results are printed as JSON.
    let isJSON: Bool

    /// Does it; results go to `write`.
    func carryOut(_ write: ([String]) throws -> Void) throws {
        if let id = given.attach { return try attach(id, write) }
        let remote = try RemoteOrder(order)
        let run = try RemoteRun(server, reporter, cancellation)
        if order.dryRun == true { return try write([run.plan(remote).text()]) }
        // What is in the way of the files is told of before anything is made.
        let files = given.detach == true ? [] : try remote.outputs(run.model(remote))
        let clips = try run.submit(remote)
        if given.detach == true { return try write(clips.map { isJSON ? ResultLine.job($0) : $0.id }) }
        try fetch(clips, into: files, run, write)
    }

    /// Waits for a clip that was submitted before.
    private func attach(_ id: String, _ write: ([String]) throws -> Void) throws {
        if given.detach == true { throw Fault(.usage, "--attach and --detach exclude each other") }
        guard order.request.image == nil else {
            throw Fault(.usage, "--attach is for a clip whose picture was sent already", hint: "leave out the picture")
        }
        guard !id.isEmpty, id.utf8.allSatisfy({ UInt8.isPlain($0) }) else {
            throw Fault(.usage, "not the id of a clip: \(id.prefix(80))", at: "--attach")
        }
        let run = try RemoteRun(server, reporter, cancellation)
        let clip = try run.clip(id)
        try fetch([clip], into: [clip.output(order)], run, write)
    }

    private func fetch(
        _ clips: [RemoteClip], into files: [String], _ run: RemoteRun, _ write: ([String]) throws -> Void
    ) throws {
        var finished = 0
        let clock = ContinuousClock.now
        func summary(_ faults: Faults?) throws {
            let seconds = (ContinuousClock.now - clock) / .seconds(1)
            if isJSON { try write([ResultLine.summary(clips: finished, seconds: seconds, faults: faults)]) }
        }
        do {
            for (index, clip) in clips.enumerated() {
                let (made, seconds) = try run.finish(
                    clip, place: (index, clips.count), into: files[index], overwrite: order.overwrite ?? false)
                finished += 1
                try write([
                    isJSON
                        ? ResultLine.clip(frames: made.frames, seed: made.seed, files: [files[index]], seconds: seconds)
                        : files[index]
                ])
            }
        } catch {
            var faults = Faults(of: error)
            if cancellation.isCancelled {
                run.cancel(Array(clips[finished...]))
                faults = Faults(Fault(.interrupted, "stopped before the end", hint: "the server was told to stop too"))
            } else if finished + 1 < clips.count {
                run.cancel(Array(clips[(finished + 1)...]))
            }
            try? summary(faults)
            throw faults
        }
        try summary(nil)
    }
}

extension UInt8 {
    /// Whether it is one of an identifier: a letter, a digit, `_` or `-`.
    fileprivate static func isPlain(_ byte: UInt8) -> Bool {
        let scalar = Unicode.Scalar(byte)
        return scalar.properties.isAlphabetic && byte < 0x80 || (48...57).contains(byte) || byte == 0x5F || byte == 0x2D
    }
}
