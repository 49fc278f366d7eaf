import Glibc
import RuyiFamilies
import RuyiFault
import RuyiFiles
import RuyiGPU
import RuyiMedia
import RuyiTensor

/// Looks at everything around the program that a run depends on.
public struct Doctor: Sendable {
    /// What was found of one thing.
    public struct Check: Sendable {
        /// How it stands: as it should be, worth knowing, or in the way of runs.
        public enum State: String, Sendable { case ok, note, problem }

        /// What was looked at.
        public let name: String
        /// How it stands.
        public let state: State
        /// What was found.
        public let text: String
        /// What to do about it, if anything.
        public let hint: String?

        /// A thing that is as it should be.
        public init(_ name: String, _ text: String) { self.init(name, .ok, text) }

        /// Makes a finding.
        public init(_ name: String, _ state: State, _ text: String, hint: String? = nil) {
            self.name = name
            self.state = state
            self.text = Fault.printable(text)
            self.hint = hint.map(Fault.printable)
        }
    }

    /// Everything that was looked at.
    public let checks: [Check]

    /// What keeps runs from succeeding; nil when nothing does.
    public var fault: Fault? {
        let count = checks.count { $0.state == .problem }
        if count == 0 { return nil }
        return Fault(.configuration, count == 1 ? "there is a problem" : "there are \(count) problems")
    }

    /// The findings as a JSON object on one line.
    public var json: String {
        let list = checks.map { check in
            JSON.sorted([
                "name": .string(check.name), "state": .string(check.state.rawValue), "text": .string(check.text),
                "hint": .text(check.hint),
            ])
        }
        let states: [Check.State] = [.ok, .note, .problem]
        let counts = states.map { state in (state.rawValue, JSON.int(checks.count { $0.state == state })) }
        return JSON.sorted(
            ["schema": 1, "version": .string(Engine.version), "checks": .array(list)]
                .merging(counts) { first, _ in first }
        ).text()
    }

    /// Looks at the machine, the libraries, the folders, the settings and `model`, or every installed model, and takes
    /// over what the caller has found.
    public init(model: String?, device: String? = nil, terminal: Check) {
        var checks = [
            Doctor.processor(), Doctor.kernels(), Doctor.cores(), Doctor.memory(), Doctor.gpus(), Doctor.libraries(),
        ]
        checks += device.map { [Doctor.operations($0)] } ?? []
        checks += Doctor.containers()
        checks += [Doctor.folder(), Doctor.settings()]
        checks += Doctor.environment()
        checks += model.map { [Doctor.model($0)] } ?? Doctor.models()
        checks += [terminal, Doctor.clock(), Doctor.locale()]
        self.checks = checks
    }

    // MARK: Machine

    private static func processor() -> Check {
        let lines = Path.smallText("/proc/cpuinfo")?.split(separator: "\n") ?? []
        let model = lines.first { $0.hasPrefix("model name") }?.split(separator: ":").last.map { $0.dropFirst() }
        let flags = lines.first { $0.hasPrefix("flags") }?.split(separator: " ") ?? []
        let telling = ["avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile"].filter { name in
            flags.contains { $0 == name }
        }
        let features = telling.isEmpty ? "" : " with " + telling.joined(separator: ", ")
        return Check("processor", (model.map(String.init) ?? "of an unknown kind") + features)
    }

    private static func kernels() -> Check {
        let best = KernelChoice.best
        do {
            if let forced = try KernelChoice.forced() {
                return Check(
                    "kernels", .note, "\(forced.name), because \(KernelChoice.variable) says so",
                    hint: forced == best ? nil : "unset it to compute with \(best.name)")
            }
        } catch {
            return Check("kernels", .problem, error.description, hint: error.hint)
        }
        if best.isBaseline {
            return Check("kernels", .note, "baseline: without AVX2 a clip takes several times as long")
        }
        return Check("kernels", "\(best.name), the best of \(KernelChoice.supported.joined(separator: ", "))")
    }

    private static func cores() -> Check {
        let cores = ThreadCount.standard()
        let processors = max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))
        return Check(
            "cores",
            "\(cores) thread\(cores == 1 ? "" : "s"), one a physical core that this process may use; "
                + "the system has \(processors) processor\(processors == 1 ? "" : "s")")
    }

    private static func memory() -> Check {
        let total = ControlGroup.value("MemTotal:", in: "/proc/meminfo").map { Bytes.text($0 * 1024) }
        guard let bound = MemoryLimits.read().anonymous else {
            return Check("memory", .note, "the system does not say how much is free", hint: "runs are not refused")
        }
        let text =
            "\(Bytes.text(bound.bytes)) for runs (\(bound.name))" + (total.map { "; the system has \($0)" } ?? "")
        let isScarce = bound.bytes < 2 << 30
        return Check("memory", isScarce ? .note : .ok, text, hint: isScarce ? "clips have to be small and short" : nil)
    }

    private static func gpus() -> Check {
        let (list, reason) = GPUFacts.all()
        if list.isEmpty { return Check("GPU", "none: \(reason ?? "no driver reports one"); the processor computes") }
        let lines = list.map { facts in
            let memory = "\(Bytes.text(facts.available)) of \(Bytes.text(facts.memory)) free"
            let lacking = facts.lacking.map { ", of no use: it lacks \($0)" } ?? ""
            return "gpu:\(facts.index) \(facts.name) (\(facts.driver)), \(memory)\(lacking)"
        }
        return Check("GPU", lines.joined(separator: "; "))
    }

    /// Runs every operation on a device and compares it with its plain reference.
    private static func operations(_ device: String) -> Check {
        do {
            guard let backend = try KernelChoice.chosen(device).gpu else {
                return Check("operations", .note, "the processor computes, whose kernels are tested with the program")
            }
            let results = try OperationSuite.run(on: backend)
            let halves = OperationSuite.matrices(on: backend)
            // What was found out before may have been found out on a day on which the device was busy.
            backend.forget()
            let wrong = results.filter { !$0.isRight }
            let place = "on \(backend.name) with the kernels \(backend.kernelName)"
            if let worst = wrong.max(by: { $0.error < $1.error }) {
                return Check(
                    "operations", .problem,
                    "\(wrong.count) of \(results.count) are wrong \(place), \(worst.name) by \(worst.error)",
                    hint: "use --device cpu, and report it with the driver's version")
            }
            let worst = results.map(\.error).max() ?? 0
            let units = backend.arithmetics.compactMap { arithmetic in
                backend.findings.units[arithmetic].map { units in
                    let speedup = (units.speedup * 10).rounded() / 10
                    return
                        "; so is \(arithmetic), held by \(units.way), in which a large product is \(speedup) times as fast"
                }
            }
            let rightness = "all \(results.count) are right \(place), float32 to \(Float(worst)) of their size"
            // A way that fails is not used.
            let broken = halves.filter { !$0.isRight }.count
            let sum =
                broken == 0 ? "" : "; \(broken) of \(halves.count) checks of halves fail, by ways that are not used"
            return Check("operations", rightness + units.joined() + sum)
        } catch let fault as Fault {
            return Check("operations", .problem, fault.description, hint: fault.hint)
        } catch {
            return Check("operations", .problem, "\(error)")
        }
    }

    // MARK: Libraries

    private static func libraries() -> Check {
        Check("libraries", MediaLibraries.versions.map { "\($0.name) \($0.version)" }.joined(separator: ", "))
    }

    private static func containers() -> [Check] {
        MediaLibraries.containers.map { container, codecs, missing in
            let here = codecs.map(\.rawValue).joined(separator: ", ")
            let lacking = missing.map(\.rawValue).joined(separator: ", ")
            if missing.isEmpty { return Check(container.rawValue, here) }
            // Without its usual codec the container of clips that are given no name cannot be written.
            let isProblem = container == .mp4 && !codecs.contains(container.codecs[0])
            return Check(
                container.rawValue, isProblem ? .problem : .note,
                here.isEmpty ? "cannot be written" : "\(here), but not \(lacking)",
                hint: "the loaded libavcodec has no encoder for \(lacking)")
        }
    }

    // MARK: Folders and settings

    private static func folder() -> Check {
        let path = Path.real(".") ?? "."
        var info = statvfs()
        let free = System.statvfs(".", &info) == 0 ? Int(info.f_bavail) * Int(info.f_frsize) : nil
        let space = free.map { "\(Bytes.text($0)) free" } ?? "free space unknown"
        if System.access(".", W_OK) != 0 {
            return Check(
                "folder", .problem, "\(path) cannot be written (\(Path.reason(errno)))",
                hint: "go to another folder, or name one with --output")
        }
        let isFull = free.map { $0 < 64 << 20 } ?? false
        return Check(
            "folder", isFull ? .problem : .ok, "\(path) can be written, \(space)",
            hint: isFull ? "make room, or name another folder with --output" : nil)
    }

    private static func settings() -> Check {
        let reader = SettingsReader()
        do {
            let settings = try reader.read()
            let files = try reader.configFiles()
            let clip = settings.order.faults().first
            if let clip { return Check("settings", .problem, clip.description, hint: clip.hint) }
            return Check("settings", files.isEmpty ? "no configuration file" : files.joined(separator: ", "))
        } catch {
            return Check(
                "settings", .problem, error.description, hint: error.list.lazy.compactMap(\.hint).first)
        }
    }

    private static func environment() -> [Check] {
        let set = Environment.names
        let known =
            EnvironmentVariable.all.map(\.name)
            + SettingsTable.standard.keys.map(EnvironmentVariable.name(ofSetting:))
        let used = known.filter { $0.hasPrefix("RUYI_") && set.contains($0) }
        var checks = [Check("environment", used.isEmpty ? "no RUYI_ variable" : used.joined(separator: ", "))]
        for name in set.sorted() where name.hasPrefix("RUYI_") && !known.contains(name) {
            let near = Nearest.match(name, among: known)
            checks.append(
                Check(
                    "environment", .note, "\(name) means nothing to ruyi",
                    hint: near.map { "did you mean \($0)?" }))
        }
        let foreign = ["OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"].filter { set.contains($0) }
        if !foreign.isEmpty {
            checks.append(
                Check(
                    "environment", .note, "\(foreign.joined(separator: ", ")) has no effect",
                    hint: "RUYI_THREADS or --threads sets the number of threads"))
        }
        return checks
    }

    // MARK: Models

    private static func models() -> [Check] {
        let catalog = ModelCatalog.installed()
        var checks = catalog.all().map(\.path).filter { path in
            // A cache holds whatever other programs have fetched.
            guard Path.name(path).hasPrefix("models--") else { return true }
            guard let folder = try? ModelFolder(path: path) else { return false }
            return ((try? Registry.families.recognising(folder)) ?? nil) != nil
        }.map(checkpoint)
        do throws(Fault) { _ = try catalog.path(nil) } catch {
            checks.append(Check("model", .problem, error.description, hint: error.hint))
        }
        return checks
    }

    private static func model(_ name: String) -> Check {
        do throws(Fault) {
            return checkpoint(try ModelCatalog.installed().path(name))
        } catch {
            return Check("model", .problem, error.description, hint: error.hint)
        }
    }

    /// A checkpoint's headers are read, none of its weights.
    private static func checkpoint(_ path: String) -> Check {
        do throws(Faults) {
            guard case .folder = Path.kind(path) else {
                return Check("model", .problem, "\(path) is no folder", hint: "name an installed model or a folder")
            }
            let inspection = try Inspection(path)
            if let faults = inspection.faults {
                return Check("model", .problem, "\(path): \(faults)", hint: faults.list.first?.hint)
            }
            guard let title = inspection["title"], let size = inspection["size"] else {
                return Check("model", .problem, "\(path) is no checkpoint", hint: "name a checkpoint's folder")
            }
            return Check("model", "\(Path.name(path)): complete, \(size), read as \(title) (\(path))")
        } catch {
            return Check("model", .problem, "\(path): \(error)", hint: error.list.first?.hint)
        }
    }

    // MARK: Surroundings

    private static func clock() -> Check {
        var now = time(nil)
        var parts = tm()
        gmtime_r(&now, &parts)
        var text = [CChar](repeating: 0, count: 64)
        let count = strftime(&text, text.count, "%Y-%m-%d %H:%M:%S UTC", &parts)
        let shown = String(decoding: text[..<count].map(UInt8.init(bitPattern:)), as: UTF8.self)
        // 2024-01-01: nothing of this program is older.
        let isWrong = now < 1_704_067_200
        return Check("clock", isWrong ? .note : .ok, shown, hint: isWrong ? "set the clock" : nil)
    }

    private static func locale() -> Check {
        let names = ["LC_ALL", "LC_CTYPE", "LANG"]
        let value = names.lazy.compactMap(Environment.value).first { !$0.isEmpty } ?? "C"
        let isUTF8 = ["utf-8", "utf8"].contains { value.lowercased().hasSuffix($0) }
        return Check(
            "locale", isUTF8 ? .ok : .note,
            isUTF8 ? value : "\(value), in which not every character of a name can be shown",
            hint: isUTF8 ? nil : "export LANG=C.UTF-8 shows every character of them")
    }
}

/// The environment of the process.
enum Environment {
    /// The value of a variable; nil when it is not set.
    static func value(_ name: String) -> String? { System.variable(name) }

    /// The names of all variables.
    static var names: Set<String> {
        let entries = Path.smallText("/proc/self/environ")?.split(separator: "\0") ?? []
        return Set(entries.map { String($0.prefix { $0 != "=" }) })
    }
}
