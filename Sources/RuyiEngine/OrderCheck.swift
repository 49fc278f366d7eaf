import RuyiFamilies
import RuyiFault
import RuyiMedia

extension Order {
    /// Everything that is wrong with the order and can be told without looking at any file.
    ///
    /// Of a part, which other sources of settings add to, the output may be theirs.
    package func faults(ofPart isPart: Bool = false, table: SettingsTable = .standard) -> [Fault] {
        var found = table.all.compactMap { $0.fault(request.values) }.map { Fault(.usage, $0) }
        func usage(_ what: String, hint: String? = nil) { found.append(Fault(.usage, what, hint: hint)) }
        found += exclusions(table)
        if !isPart, self.padColor != nil, request.fit != .pad, self.alpha == .drop {
            usage("pad_color is for pictures that are padded or transparent", hint: "leave out --alpha drop")
        }
        if !isPart, self.previewEvery != nil, self.preview == nil, self.previewTerminal != true {
            usage("preview_every needs a preview", hint: "name a file with --preview")
        }
        // The form of a name without a known suffix is reported where the name is read.
        let output = self.output ?? (isPart ? nil : "clip.mp4")
        let fault = output.map { VideoForm.fault($0, encoding) } ?? VideoForm.faultAnywhere(encoding)
        if !encoding.isStandard, let fault { found.append(fault) }
        return found
    }

    /// Settings that exclude or need one another.
    private func exclusions(_ table: SettingsTable) -> [Fault] {
        var found: [Fault] = []
        func usage(_ what: String, hint: String? = nil) { found.append(Fault(.usage, what, hint: hint)) }
        if (request.width == nil) != (request.height == nil) { usage("width and height must be given together") }
        // Width and height are one form of a size.
        let forms = table.all.filter { $0.key != CommonSettings.table.height.key && request.values[$0.key] != nil }
        for (_, settings) in Dictionary(grouping: forms, by: \.traits.alternative).sorted(by: {
            $0.key ?? "" < $1.key ?? ""
        })
        where settings.first?.traits.alternative != nil && settings.count > 1
            && !settings.contains(where: { $0.traits.decides })
        {
            let keys = settings.map(\.key)
            usage("\(keys.dropLast().joined(separator: ", ")) and \(keys[keys.count - 1]) exclude each other")
        }
        if self.output == StandardOutput.name, seeds.count > 1 {
            usage("standard output takes one clip", hint: "give one seed, or a file's name")
        }
        if self.output == StandardOutput.name, self.sidecar == true {
            usage("a clip on standard output has no file beside it", hint: "leave out --sidecar")
        }
        if request.grow == true, let output = self.output, output == StandardOutput.name || Path.suffix(output) == "png"
        {
            usage("only a video file can grow", hint: "leave out --grow, or name an output such as clip.mp4")
        }
        for (isAsked, option) in [(request.grow, "--grow"), (request.resume, "--resume")]
        where isAsked == true && self.trace != nil {
            usage("\(option) and --trace exclude each other: stages are recorded in one undisturbed run")
        }
        if encodes, self.conditions != nil { usage("conditions are given, so there is nothing to encode") }
        if let variations = self.variations, variations > 1, seeds.count > 1 {
            usage("variations counts up from one seed, and \(seeds.count) are given", hint: "give either of them")
        }
        if clipSeeds.count > 1, request.noise != nil {
            usage("with a noise file every seed gives the same clip", hint: "give one seed, or no noise file")
        }
        return found
    }
}
