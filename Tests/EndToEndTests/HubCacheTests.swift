import Foundation
import GoldenRecords
import Testing

@Suite("Models as a hub cache holds them")
struct HubCacheTests {
    let golden = Golden(name: "i2v-euler")
    let scratch: Scratch
    /// The folder of the repository in the cache.
    let repository: String
    private let commit = "6b7c597d2f0a4c1e8b9f3a5d7c6e4b2a1f0e9d8c"

    /// Stores the case's model as the hub's client does: content under `blobs`, names as links under `snapshots`.
    init() throws {
        scratch = try Scratch()
        repository = scratch("models--IamCreateAI--Ruyi-Mini-7B")
        let files = FileManager.default
        for folder in ["blobs", "refs", "snapshots/" + commit] {
            try files.createDirectory(atPath: repository + "/" + folder, withIntermediateDirectories: true)
        }
        for (index, name) in try files.subpathsOfDirectory(atPath: golden("model")).sorted().enumerated() {
            var isFolder: ObjCBool = false
            _ = files.fileExists(atPath: golden("model") + "/" + name, isDirectory: &isFolder)
            if isFolder.boolValue {
                try files.createDirectory(atPath: snapshot + "/" + name, withIntermediateDirectories: true)
                continue
            }
            try files.copyItem(atPath: golden("model") + "/" + name, toPath: "\(repository)/blobs/\(index)")
            let depth = String(repeating: "../", count: 2 + name.filter { $0 == "/" }.count)
            try files.createSymbolicLink(
                atPath: snapshot + "/" + name, withDestinationPath: depth + "blobs/\(index)")
        }
        try commit.write(toFile: repository + "/refs/main", atomically: false, encoding: .utf8)
    }

    private var snapshot: String { repository + "/snapshots/" + commit }

    /// A clip without what it was made with: there the model's name differs.
    private func render(_ model: String, _ output: String = "v.mp4") throws -> Outcome {
        try Executable.run(
            ["--request", golden("request.json"), "-m", model, "-q", "--no-metadata", "-o", scratch(output)],
            in: scratch.path)
    }

    @Test("the repository, a snapshot and links to them give what the plain folder gives")
    func places() throws {
        symlink(repository, scratch("link"))
        symlink(snapshot, scratch("snapshot"))
        #expect(try render(golden("model"), "plain.mp4").code == 0)
        let plain = FileManager.default.contents(atPath: scratch("plain.mp4"))
        #expect(plain != nil)
        let places = [repository, repository + "/", snapshot, "link", "snapshot", "models--IamCreateAI--Ruyi-Mini-7B"]
        for (index, place) in places.enumerated() {
            let outcome = try render(place, "\(index).mp4")
            #expect(outcome.code == 0, "\(place): \(outcome.errors)")
            #expect(FileManager.default.contents(atPath: scratch("\(index).mp4")) == plain)
        }
    }

    @Test("of several snapshots the one that refs/main names is used, and one that is not there is refused")
    func references() throws {
        try FileManager.default.createDirectory(
            atPath: repository + "/snapshots/older", withIntermediateDirectories: true)
        #expect(try render(repository).code == 0)
        try "older".write(toFile: repository + "/refs/main", atomically: false, encoding: .utf8)
        let empty = try render(repository, "o.mp4")
        #expect(empty.code == 65 && empty.errors.contains("no known model"), "\(empty.errors)")
        try "newer".write(toFile: repository + "/refs/main", atomically: false, encoding: .utf8)
        let missing = try render(repository, "m.mp4")
        #expect(missing.code == 65 && missing.errors.contains("no snapshot newer"), "\(missing.errors)")
        try FileManager.default.removeItem(atPath: repository + "/refs/main")
        let nameless = try render(repository, "n.mp4")
        #expect(nameless.code == 66 && nameless.errors.contains("refs/main"), "\(nameless.errors)")
    }

    @Test(
        "a link whose content is missing is named",
        arguments: [
            "transformer/diffusion_pytorch_model.safetensors", "transformer/config.json", "embeddings.safetensors",
            "scheduler/scheduler_config.json", "vae/diffusion_pytorch_model.safetensors", "image_encoder/config.json",
            "image_encoder/model.safetensors",
        ])
    func brokenLink(_ name: String) throws {
        let target = try FileManager.default.destinationOfSymbolicLink(atPath: snapshot + "/" + name)
        let blob = try #require(target.split(separator: "/").last)
        try FileManager.default.removeItem(atPath: "\(repository)/blobs/\(blob)")
        let outcome = try render(repository)
        #expect(outcome.code == 66, "\(outcome.errors)")
        #expect(outcome.errors.contains("a broken link") && outcome.errors.contains(name), "\(outcome.errors)")
        #expect(outcome.errors.contains("download the model again"), "\(outcome.errors)")
    }

    @Test("a link that leads out of the cache is refused")
    func escaping() throws {
        try scratch.write("{}", to: "config.json")
        let place = snapshot + "/transformer/config.json"
        try FileManager.default.removeItem(atPath: place)
        try FileManager.default.createSymbolicLink(atPath: place, withDestinationPath: scratch("config.json"))
        let outcome = try render(repository)
        #expect(outcome.code == 65 && outcome.errors.contains("out of the model folder"), "\(outcome.errors)")
    }

    @Test("weights of a plain folder may lie elsewhere, as one VAE for two models; settings may not")
    func shared() throws {
        try golden.record.copy("model", to: scratch("plain"))
        let weights = "plain/vae/diffusion_pytorch_model.safetensors"
        try FileManager.default.moveItem(atPath: scratch(weights), toPath: scratch("vae.safetensors"))
        try FileManager.default.createSymbolicLink(
            atPath: scratch(weights), withDestinationPath: "../../vae.safetensors")
        let outcome = try render(scratch("plain"))
        #expect(outcome.code == 0, "\(outcome.errors)")
        try FileManager.default.moveItem(atPath: scratch("plain/vae/config.json"), toPath: scratch("config.json"))
        try FileManager.default.createSymbolicLink(
            atPath: scratch("plain/vae/config.json"), withDestinationPath: "../../config.json")
        let escaped = try render(scratch("plain"))
        #expect(escaped.code == 65 && escaped.errors.contains("out of the model folder"), "\(escaped.errors)")
    }
}
