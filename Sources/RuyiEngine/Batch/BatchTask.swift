import RuyiFamilies
import RuyiFault
import RuyiFiles

/// One clip of a batch.
struct BatchTask {
    /// Where its picture stands in the source, for messages.
    let place: String
    /// Its file or pattern, as a path in the batch's folder.
    let output: String
    /// Everything that it asks for.
    var order: Order
    /// The settled run, or why there is none.
    var run: Result<Run, Faults>
}

/// Makes clips of a source's entries, with names that no two share.
struct BatchNames {
    let folder: String
    let pattern: String
    /// The name of clips that have no picture; their places in the source follow.
    let fallback: String

    /// The largest number of clips.
    static let clipLimit = 100_000
    /// The longest name of a file; what is added to it while it is written has to fit too.
    private static let nameLimit = 200

    /// A clip for each seed of each entry.
    func tasks(_ items: [BatchItem], defaults: Order) throws(Faults) -> [BatchTask] {
        var tasks: [BatchTask] = []
        var faults: [Fault] = []
        var owners: [String: String] = [:]
        for (index, item) in items.enumerated() {
            var order = item.order.over(defaults)
            let seeds = order.clipSeeds
            guard tasks.count + faults.count + seeds.count <= BatchNames.clipLimit else {
                throw Faults(
                    Fault(.usage, "the batch has more than \(BatchNames.clipLimit) clips", at: item.place))
            }
            order.variations = nil
            let name = item.name ?? order.request.image.map(Path.stem) ?? "\(fallback)-\(index + 1)"
            for seed in seeds {
                order.seeds = [seed]
                let output = self.output(item, name: name, index: index, seed: seed, isOne: seeds.count == 1)
                if let fault = fault(output, item) {
                    faults.append(fault)
                } else if let owner = owners.updateValue(item.place, forKey: output) {
                    faults.append(
                        Fault(
                            .usage, "two clips have the name \(output), the other one is \(owner)", at: item.place,
                            hint: "tell them apart with --name '{name}-{index}-{seed}.mp4', or with an id in the list"))
                } else {
                    (order.output, order.hasWholeName) = (Path.resolve(output, in: folder), true)
                    tasks.append(
                        BatchTask(place: item.place, output: output, order: order, run: .failure(.stopped)))
                }
            }
        }
        try BatchSource.check(faults, folder)
        return tasks
    }

    private func output(_ item: BatchItem, name: String, index: Int, seed: UInt64, isOne: Bool) -> String {
        let pattern = item.output ?? self.pattern
        // In the name of a sequence of frames a per cent sign means something.
        let isSequence = Path.suffix(pattern) == "png"
        let name = isSequence ? FramePattern.doubled(name) : name
        let numbered = OutputNames.replace(pattern, "{index}", String(index + 1))
        let seeded = isOne || numbered.contains("{seed}") ? numbered : OutputNames.suffixed(numbered)
        return OutputNames.replace(OutputNames.replace(seeded, "{seed}", String(seed)), "{name}", name)
    }

    /// What is wrong with a name.
    private func fault(_ output: String, _ item: BatchItem) -> Fault? {
        let place = item.place
        do throws(Fault) {
            for part in try RelativePath.components(output, in: place) {
                let what: String? =
                    part.hasPrefix(".")
                    ? "begins with a dot"
                    : part.utf8.count > BatchNames.nameLimit ? "has more than \(BatchNames.nameLimit) bytes" : nil
                if part.contains("{model}") || part.contains("{date}") {
                    throw Fault(.usage, "a batch has no {model} and no {date} in the names of its clips", at: place)
                }
                if let what { throw Fault(.usage, "the clip's name '\(part.prefix(80))' \(what)", at: place) }
            }
            try Output.checkNumbers(item.output ?? pattern)
            _ = try Output(output)
            return nil
        } catch {
            return Fault(
                .usage, error.place == place ? error.what : "\(error.what) '\(output.prefix(120))'", at: place,
                hint: error.hint ?? "an id in the list, or --name, names the clip")
        }
    }
}
