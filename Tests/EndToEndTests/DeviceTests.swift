import Foundation
import GoldenRecords
import RuyiFault
import RuyiFiles
import RuyiGPU
import RuyiTensor
import Testing

/// Whether the machine has a GPU, or a driver that computes on the processor.
private let hasDevice = GPUFacts.all().list.contains { $0.lacking == nil }

/// Whether Khronos's validation layers are installed.
private let hasLayers = FileManager.default.fileExists(
    atPath: "/usr/share/vulkan/explicit_layer.d/VkLayer_khronos_validation.json")

@Suite("Devices through the executable", .enabled(if: hasDevice))
struct DeviceTests {
    /// Cases of every family, of several types of weights, and of what changes a model.
    static let cases: [Golden] = GoldenSet.runs.map { Golden($0) }.filter { golden in
        [
            "ruyi i2v-bf16", "ruyi i2v-fp8", "ruyi i2v-lora", "ruyi i2v-enhance", "hunyuanvideo t2v-basic",
            "framepack i2v-real-dtypes", "pyramid-flow miniflux-t2i", "pyramid-flow sd3-t2v",
        ].contains(golden.testDescription)
    }

    private func run(
        _ golden: Golden, _ scratch: Scratch, _ name: String, _ more: [String], environment: [String: String] = [:]
    ) throws -> Outcome {
        let models = try Scratch()
        return try Executable.run(
            [
                "--request", golden("request.json"), "--model", try golden.record.model(orCopiedTo: models("model")),
                "--noise", golden("expected.safetensors"), "--trace", scratch(name + ".safetensors"), "-o",
                scratch(name + ".mkv"),
            ] + more, environment: environment)
    }

    @Test("a case gives the reference's stages on a GPU", arguments: cases)
    func matches(_ golden: Golden) throws {
        let scratch = try Scratch()
        let outcome = try run(golden, scratch, "a", ["--device", "gpu", "--precision", "float32"])
        #expect(outcome.code == 0, "\(outcome.errors)")
        #expect(try golden.differences(scratch("a.safetensors")) == [])
    }

    @Test("with less memory than the weights take the clip is the same, byte for byte")
    func streams() throws {
        let golden = Golden(name: "i2v-euler")
        let scratch = try Scratch()
        for (name, memory) in [("a", "1G"), ("b", "1G"), ("c", "16M")] {
            let outcome = try run(golden, scratch, name, ["--device", "gpu", "--device-memory", memory, "-q"])
            #expect(outcome.code == 0, "\(outcome.errors)")
        }
        let traces = ["a", "b", "c"].map { FileManager.default.contents(atPath: scratch($0 + ".safetensors")) }
        #expect(traces[0] != nil && traces[0] == traces[1] && traces[1] == traces[2])
    }

    @Test("a clip that the GPU has no room for is refused before anything is read")
    func refused() throws {
        let golden = Golden(name: "i2v-euler")
        let scratch = try Scratch()
        let outcome = try run(golden, scratch, "a", ["--device", "gpu", "--device-memory", "200K"])
        #expect(outcome.code == Fault.Kind.resources.rawValue && scratch.files.isEmpty)
        #expect(outcome.errors.contains("the memory of the GPU leaves"), "\(outcome.errors)")
    }

    @Test("a plan says what a clip takes of the GPU's memory, and the run of another size takes more")
    func plan() throws {
        let request = ["--request", Golden(name: "i2v-euler")("request.json"), "--device", "gpu"]
        func planned(_ more: [String]) throws -> Int {
            let outcome = try Executable.run(["plan", "--json"] + request + more)
            return try JSONObject(parsing: Array(outcome.output.utf8), file: "plan").int("device_memory_bytes")
        }
        #expect(try planned(["--size", "96x64"]) > planned([]))
        #expect(try planned(["--device-memory", "16M"]) <= 16_000_000)
        let text = try Executable.run(["plan"] + request)
        #expect(text.output.contains("device_memory") && text.output.contains("of the GPU's"), "\(text.output)")
    }

    @Test(
        "a plan of the GPU's memory lies at most 5 % below and 15 % above what is taken",
        arguments: [
            "--size 96x64 --frames 8", "--size 160x96 --frames 16", "--size 160x96 --frames 16 --device-memory 12M",
            "--size 96x64 --frames 8 --precision int8",
        ])
    func planned(_ options: String) throws {
        let golden = Golden(name: "i2v-euler")
        let scratch = try Scratch()
        let model = try golden.record.model(orCopiedTo: scratch("model"))
        let arguments =
            [golden("start.png"), "-m", model, "--device", "gpu", "--steps", "1"]
            + options.split(separator: " ").map(String.init)
        let plan = try Executable.run(["plan", "--json"] + arguments)
        let planned = try JSONObject(parsing: Array(plan.output.utf8), file: "plan").int("device_memory_bytes")
        let outcome = try Executable.run(arguments + ["--json", "-o", scratch("a.mkv")])
        let line = outcome.output.split(separator: "\n").first { $0.contains("\"clip\"") } ?? ""
        let taken = try JSONObject(parsing: Array(line.utf8), file: "result").int("device_memory_bytes")
        let ratio = Double(planned) / Double(max(taken, 1))
        #expect((0.95...1.15).contains(ratio), "\(planned) planned, \(taken) taken, ratio \(ratio)")
    }

    @Test("a device that is not there is refused with what there is")
    func absent() throws {
        let golden = Golden(name: "i2v-euler")
        let scratch = try Scratch()
        let number = try run(golden, scratch, "a", ["--device", "gpu:63"])
        #expect(number.code == Fault.Kind.unavailable.rawValue && number.errors.contains("there is no GPU 63"))
        let kind = try run(golden, scratch, "a", ["--device", "tpu"])
        #expect(kind.code == Fault.Kind.usage.rawValue && kind.errors.contains("--device"))
        #expect(scratch.files.isEmpty)
    }

    @Test("without a driver a GPU is refused, and auto takes the processor")
    func driverless() throws {
        let scratch = try Scratch()
        let none = ["VK_ICD_FILENAMES": scratch("none.json"), "VK_DRIVER_FILES": scratch("none.json")]
        let request = ["--request", Golden(name: "i2v-euler")("request.json"), "-q", "-o", scratch("a.mkv")]
        let outcome = try Executable.run(request + ["--device", "gpu"], environment: none)
        #expect(outcome.code == Fault.Kind.unavailable.rawValue && scratch.files.isEmpty)
        #expect(outcome.errors.contains("there is no GPU to compute on"), "\(outcome.errors)")
        let auto = try Executable.run(request + ["--device", "auto"], environment: none)
        #expect(auto.code == 0 && scratch.files == ["a.mkv"], "\(auto.errors)")
        let doctor = try Executable.run(["doctor"], environment: none)
        #expect(doctor.output.contains("none: "))
    }

    @Test("without a loader a GPU is refused with its name, and clips are made on the processor as ever")
    func loaderless() throws {
        let (scratch, libraries) = (try Scratch(), try Scratch())
        // Files that are no libraries are found first.
        for name in ["libvulkan.so.1", "libvulkan.so"] {
            #expect(FileManager.default.createFile(atPath: libraries(name), contents: Data("none".utf8)))
        }
        let known = ProcessInfo.processInfo.environment["LD_LIBRARY_PATH"].map { ":" + $0 } ?? ""
        let none = ["LD_LIBRARY_PATH": libraries("") + known]
        let request = ["--request", Golden(name: "i2v-euler")("request.json"), "-q", "-o", scratch("a.mkv")]
        let outcome = try Executable.run(request + ["--device", "gpu"], environment: none)
        #expect(outcome.code == Fault.Kind.unavailable.rawValue && scratch.files.isEmpty)
        #expect(outcome.errors.contains("libvulkan.so.1"), "\(outcome.errors)")
        let usual = try Executable.run(request, environment: none)
        #expect(usual.code == 0 && scratch.files == ["a.mkv"], "\(usual.errors)")
    }

    @Test("halves make another clip, near that of float32, and the processor says that it has no units for f16")
    func halves() throws {
        // Its layers have more than 64 rows.
        let golden = Golden(name: "t2v-basic", family: "hunyuanvideo")
        let (scratch, cache) = (try Scratch(), try Scratch())
        func output(_ name: String) throws -> [Float] {
            try SafetensorsFile(path: scratch(name + ".safetensors")).tensor("step.000.model_output").floats()
        }
        func trace(_ name: String) -> Data? { FileManager.default.contents(atPath: scratch(name + ".safetensors")) }
        for (name, precision) in [("a", "float32"), ("f16", "f16"), ("bf16", "bf16"), ("again", "f16")] {
            let outcome = try run(
                golden, scratch, name, ["--device", "gpu", "--precision", precision],
                environment: ["XDG_CACHE_HOME": cache.path])
            #expect(outcome.code == 0 && !outcome.errors.contains("computed in float32"), "\(outcome.errors)")
        }
        let exact = try output("a")
        for (name, limit) in [("f16", 1e-3), ("bf16", 1e-2)] {
            let (sum, norm) = try zip(output(name), exact).reduce((0.0, 0.0)) { sums, pair in
                let difference = Double(pair.0) - Double(pair.1)
                return (sums.0 + difference * difference, sums.1 + Double(pair.1) * Double(pair.1))
            }
            let error = (sum / norm).squareRoot()
            #expect(error > limit / 100 && error < limit, "\(name): \(error)")
        }
        #expect(trace("f16") != nil && trace("f16") == trace("again"))
        let processor = try run(golden, scratch, "b", ["--precision", "f16"])
        #expect(processor.errors.contains("this processor has no units for f16"), "\(processor.errors)")
    }

    @Test("what is found out about a device is kept in the cache folder, and what is no record of it does no harm")
    func findings() throws {
        let (scratch, cache) = (try Scratch(), try Scratch())
        let golden = Golden(name: "i2v-euler")
        var kept: Data? { FileManager.default.contents(atPath: cache("ruyi/gpus.json")) }
        for content in [nil, "{", "{\"x\": {\"f16\": 1}}", "[1]"] {
            if let content { try Data(content.utf8).write(to: URL(fileURLWithPath: cache("ruyi/gpus.json"))) }
            let outcome = try run(
                golden, scratch, "a", ["--device", "gpu", "--precision", "bf16", "--overwrite", "-q"],
                environment: ["XDG_CACHE_HOME": cache.path])
            #expect(outcome.code == 0 && outcome.errors.isEmpty, "\(outcome.errors)")
            let text = String(decoding: kept ?? Data(), as: UTF8.self)
            #expect(text.contains("\"right\":true") && text.contains("\"speedup\""), "\(text)")
        }
        // What was not right the last time is not tried again.
        let wrong = String(decoding: kept ?? Data(), as: UTF8.self).replacingOccurrences(
            of: "\"right\":true", with: "\"right\":false")
        try Data(wrong.utf8).write(to: URL(fileURLWithPath: cache("ruyi/gpus.json")))
        let outcome = try run(
            golden, scratch, "a", ["--device", "gpu", "--precision", "bf16", "--overwrite"],
            environment: ["XDG_CACHE_HOME": cache.path])
        #expect(outcome.code == 0 && outcome.errors.contains("computed in float32"), "\(outcome.errors)")
        #expect(String(decoding: kept ?? Data(), as: UTF8.self) == wrong)
    }

    @Test("Khronos's validation layers have nothing to say about any operation", .enabled(if: hasLayers))
    func validation() throws {
        let cache = try Scratch()
        let outcome = try Executable.run(
            ["doctor", "--device", "gpu"],
            environment: ["VK_INSTANCE_LAYERS": "VK_LAYER_KHRONOS_validation", "XDG_CACHE_HOME": cache.path])
        #expect(outcome.output.contains("are right on"), "\(outcome.output)")
        for text in ["VUID", "Validation"] {
            #expect(
                !outcome.output.contains(text) && !outcome.errors.contains(text), "\(outcome.output)\(outcome.errors)")
        }
    }

    @Test("the doctor lists the devices and runs every operation on one")
    func doctor() throws {
        let cache = try Scratch()
        let outcome = try Executable.run(
            ["doctor", "--device", "gpu", "--json"], environment: ["XDG_CACHE_HOME": cache.path])
        #expect(outcome.output.contains("are right on"), "\(outcome.output)")
        // It tells of both kinds of halves, and has tried them.
        for name in ["f16", "bf16"] { #expect(outcome.output.contains("so is \(name), held by"), "\(outcome.output)") }
    }
}
