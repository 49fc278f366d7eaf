import Foundation
import RuyiFiles
import RuyiHub
import Testing

/// FramePack, whose checkpoint comes from three repositories, pulled as a process.
@Suite("Models of several repositories")
struct SeveralRepositoriesTests {
    private typealias Files = [String: [UInt8]]

    private static let golden = Program.root.appendingPathComponent("Tests/Goldens/framepack/i2v-cfg-rescale").path
    private let scratch: Scratch
    private let repositories: [String: Files]

    init() throws {
        scratch = try Scratch()
        func files(_ folder: String) -> Files {
            let path = URL(fileURLWithPath: Self.golden + "/model/" + folder).resolvingSymlinksInPath().path
            let names = (FileManager.default.subpaths(atPath: path) ?? []).filter { $0.contains(".") }
            return Dictionary(
                names.map { ($0, Array(FileManager.default.contents(atPath: path + "/" + $0) ?? Data())) }
            ) { first, _ in first }
        }
        let transformer = files("FramePackI2V_HY")
        var (video, flux) = (files("HunyuanVideo"), files("flux_redux_bfl"))
        video["transformer/diffusion_pytorch_model.safetensors"] = [UInt8](repeating: 7, count: 50_000)
        video["README.md"] = Array("not used".utf8)
        flux["image_embedder/diffusion_pytorch_model.safetensors"] = [UInt8](repeating: 8, count: 50_000)
        repositories = [
            "lllyasviel/FramePackI2V_HY": transformer, "lllyasviel/FramePack_F1_I2V_HY_20250503": transformer,
            "hunyuanvideo-community/HunyuanVideo": video, "lllyasviel/flux_redux_bfl": flux,
        ]
    }

    /// A hub with these repositories; `isDown` says of a path, and how often it was asked for, whether nothing is there.
    private func hub(isDown: @escaping @Sendable (String, Int) -> Bool = { _, _ in false }) throws -> HubServer {
        try HubServer { [repositories] request, number in
            if isDown(request.path, number) { return .init(status: 404) }
            for (name, files) in repositories {
                if request.path == "/api/models/\(name)/revision/main?blobs=true" {
                    return .init(body: Array(Self.listing(files).text().utf8))
                }
                let start = "/\(name)/resolve/\(Repository.commit)/"
                if request.path.hasPrefix(start), let bytes = files[String(request.path.dropFirst(start.count))] {
                    return Repository.serve(bytes, request)
                }
            }
            return .init(status: 404)
        }
    }

    private static func listing(_ files: Files) -> JSON {
        let siblings = files.map { name, bytes -> JSON in
            [
                "rfilename": .string(name), "size": .int(bytes.count), "blobId": .string(Repository.blob(bytes)),
                "lfs": name.hasSuffix(".safetensors")
                    ? ["sha256": .string(SHA256.hex(bytes)), "size": .int(bytes.count)] : .null,
            ]
        }
        return ["sha": .string(Repository.commit), "siblings": .array(siblings)]
    }

    private func run(_ server: HubServer, _ arguments: String...) throws -> (
        code: Int32, output: String, errors: String
    ) {
        let environment = [
            "HF_ENDPOINT": server.endpoint, "RUYI_HOME": scratch.path, "HF_HOME": scratch("none"),
            "XDG_CONFIG_HOME": scratch("none"),
        ]
        return try Program(arguments, environment: environment).finish()
    }

    private func clip(_ server: HubServer, _ model: String, _ name: String) throws -> [UInt8]? {
        let outcome = try run(
            server, Self.golden + "/image.png", "-p", "A cat.", "-m", model, "--size", "32x32", "--steps", "1",
            "--latent-window-size", "1", "--sections", "1", "-q", "--no-metadata", "-o", scratch(name))
        #expect(outcome.code == 0, "\(outcome.errors)")
        return scratch.bytes(name)
    }

    @Test("what belongs together is pulled side by side, only what is used, and nothing twice")
    func pull() throws {
        let flux = "/api/models/lllyasviel/flux_redux_bfl/revision/main?blobs=true"
        let server = try hub { path, number in path == flux && number == 1 }
        let dry = try run(server, "models", "pull", "FramePackI2V_HY", "--dry-run")
        for line in ["FramePackI2V_HY/config.json", "HunyuanVideo/vae/config.json", "image_encoder/model.safetensors"] {
            #expect(dry.output.contains(line), "\(dry.output)")
        }
        #expect(dry.code == 0 && !dry.output.contains("HunyuanVideo/transformer"), "\(dry.errors)")
        // The hub lacks the last one for once: what has come stays.
        let first = try run(server, "models", "pull", "FramePackI2V_HY", "-q")
        #expect(first.code == 69 && first.output.isEmpty, "\(first.errors)")
        #expect(scratch.bytes("models/HunyuanVideo/vae/config.json") != nil)
        let fetched = server.requests.map(\.path).filter { $0.contains("/resolve/") }
        let folder = scratch("models/FramePackI2V_HY")
        let second = try run(server, "models", "pull", "FramePackI2V_HY", "-q")
        #expect(second.code == 0 && second.output == folder + "\n", "\(second.errors)")
        let all = server.requests.map(\.path).filter { $0.contains("/resolve/") }
        #expect(Set(all).count == all.count && all.count > fetched.count)
        #expect(!all.contains { ["transformer", "image_embedder", "README"].contains(where: $0.contains) }, "\(all)")

        // The name finds all of it, and it is one model.
        #expect(try clip(server, "FramePackI2V_HY", "a.mkv") == clip(server, Self.golden + "/model", "b.mkv"))
        let listed = try run(server, "models", "list").output
        #expect(listed.contains("FramePackI2V_HY  framepack  f32") && listed.contains("complete"), "\(listed)")
        #expect(!listed.contains("flux_redux_bfl") && !listed.contains("/HunyuanVideo"), "\(listed)")
        #expect(try run(server, "models", "list", "--all").output.contains("about 42.9 GB"))
        let verified = try run(server, "models", "verify", "FramePackI2V_HY")
        #expect(verified.code == 0 && verified.output.contains("\(all.count) files"), "\(verified)")

        // The other variant shares everything but its transformer.
        let other = try run(server, "models", "pull", "FramePack_F1_I2V_HY_20250503", "-q")
        #expect(other.code == 0, "\(other.errors)")
        let more = server.requests.map(\.path).filter { $0.contains("/resolve/") }.dropFirst(all.count)
        #expect(!more.isEmpty && more.allSatisfy { $0.contains("FramePack_F1") }, "\(more)")
        #expect(try clip(server, "FramePack_F1_I2V_HY_20250503", "f1.mkv") != nil)

        // A file of a neighbour that changed is found.
        let path = "models/flux_redux_bfl/image_encoder/model.safetensors"
        var bytes = try #require(scratch.bytes(path))
        bytes[bytes.count - 1] ^= 1
        try scratch.write(bytes, to: path)
        let bad = try run(server, "models", "verify", "FramePackI2V_HY")
        #expect(bad.code == 65 && bad.errors.contains("flux_redux_bfl/image_encoder"), "\(bad.errors)")
    }

    @Test("a repository that is there whole stays whole, and one that is there in part becomes so")
    func whole() throws {
        let server = try hub()
        #expect(try run(server, "models", "pull", "FramePackI2V_HY", "-q").code == 0)
        let path = "models/HunyuanVideo/transformer/diffusion_pytorch_model.safetensors"
        #expect(scratch.bytes(path) == nil)
        #expect(try run(server, "models", "pull", "HunyuanVideo", "-q").code == 0)
        #expect(scratch.bytes(path)?.count == 50_000)
        let count = server.requests.count { $0.path.contains("/resolve/") }
        #expect(try run(server, "models", "pull", "FramePackI2V_HY", "-q").code == 0)
        #expect(scratch.bytes(path)?.count == 50_000)
        #expect(try run(server, "models", "pull", "HunyuanVideo", "-q").code == 0)
        #expect(server.requests.count { $0.path.contains("/resolve/") } == count)
        // The user's own file in the place of the hub's is not replaced.
        try scratch.write(
            Array("mine".utf8), to: "models/flux_redux_bfl/image_embedder/diffusion_pytorch_model.safetensors")
        let refused = try run(server, "models", "pull", "lllyasviel/flux_redux_bfl", "-q")
        #expect(refused.code == 73 && refused.errors.contains("another file than the hub's"), "\(refused.errors)")
    }

    @Test("--to says where the model goes, and the others go beside it")
    func target() throws {
        let server = try hub()
        let outcome = try run(
            server, "models", "pull", "framepacki2v_hy", "-q", "--to", scratch("here/FramePackI2V_HY"))
        #expect(outcome.code == 0, "\(outcome.errors)")
        #expect(scratch.bytes("here/HunyuanVideo/vae/config.json") != nil)
        #expect(try clip(server, scratch("here/FramePackI2V_HY"), "c.mkv") != nil)
    }

    @Test("of a model with several variants only the one that is asked for comes, and the others later")
    func variants() throws {
        let name = "rain1011/pyramid-flow-sd3"
        let files: Files = Dictionary(
            uniqueKeysWithValues: [
                "diffusion_transformer_384p/config.json", "diffusion_transformer_768p/config.json",
                "causal_video_vae/config.json",
            ].map { ($0, Array($0.utf8)) })
        let server = try HubServer { request, _ in
            if request.path == "/api/models/\(name)/revision/main?blobs=true" {
                return .init(body: Array(Self.listing(files).text().utf8))
            }
            let start = "/\(name)/resolve/\(Repository.commit)/"
            guard request.path.hasPrefix(start), let bytes = files[String(request.path.dropFirst(start.count))] else {
                return .init(status: 404)
            }
            return Repository.serve(bytes, request)
        }
        let first = try run(server, "models", "pull", "pyramid-flow-sd3", "-q", "--variant", "384p")
        #expect(first.code == 0, "\(first.errors)")
        let folder = "models/pyramid-flow-sd3/"
        func isThere(_ part: String) -> Bool { scratch.bytes(folder + part + "/config.json") != nil }
        #expect(isThere("diffusion_transformer_384p") && isThere("causal_video_vae"))
        #expect(!isThere("diffusion_transformer_768p"))
        #expect(try run(server, "models", "pull", "pyramid-flow-sd3", "-q", "--variant", "768p").code == 0)
        #expect(isThere("diffusion_transformer_384p") && isThere("diffusion_transformer_768p"))
        for (model, words) in [("pyramid-flow-sd3", "384p, 768p"), ("Ruyi-Mini-7B", "has one form")] {
            let refused = try run(server, "models", "pull", model, "--variant", "540p")
            #expect(refused.code == 64 && refused.errors.contains(words), "\(refused.errors)")
        }
    }
}
