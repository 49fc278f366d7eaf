import Foundation
import RuyiEngine
import Testing

/// A request that must be refused, and a word that the message must hold.
struct BadRequest: Sendable, CustomTestStringConvertible {
    let text: String
    let word: String

    init(_ text: String, _ word: String) {
        self.text = text
        self.word = word
    }

    var testDescription: String { text.isEmpty ? "nothing" : text }
}

@Suite("Request files")
struct RequestFileTests {
    static let bad: [BadRequest] = [
        BadRequest("", "JSON"), BadRequest("{", "JSON"), BadRequest("[]", "object"), BadRequest("3", "object"),
        BadRequest("{} x", "JSON"), BadRequest("{\"frames\": 8,}", "JSON"), BadRequest("{frames: 8}", "JSON"),
        BadRequest("{\"frames\": 08}", "JSON"), BadRequest("{\"frames\": NaN}", "JSON"), BadRequest("// x\n{}", "JSON"),
        BadRequest("{\"seed\": 1, \"seed\": 2}", "seed"), BadRequest("{\"frames\": 8.5}", "frames"),
        BadRequest("{\"frames\": \"8\"}", "frames"), BadRequest("{\"frames\": true}", "frames"),
        BadRequest("{\"frames\": 1e400}", "frames"), BadRequest("{\"frames\": 99999999999999999999}", "frames"),
        BadRequest("{\"width\": [48]}", "width"), BadRequest("{\"height\": {}}", "height"),
        BadRequest("{\"fps\": 2e1}", "fps"), BadRequest("{\"fps\": \"24/0\"}", "fps"),
        BadRequest("{\"fps\": \"24/1/1\"}", "fps"), BadRequest("{\"steps\": []}", "steps"),
        BadRequest("{\"steps\": [5, \"x\"]}", "steps"), BadRequest("{\"steps\": \"many\"}", "steps"),
        BadRequest("{\"seconds\": \"2\"}", "seconds"), BadRequest("{\"guidance\": \"7\"}", "guidance"),
        BadRequest("{\"guidance\": 1e999}", "guidance"), BadRequest("{\"seed\": -2}", "seed"),
        BadRequest("{\"seed\": 18446744073709551616}", "seed"), BadRequest("{\"seed\": 1.0}", "seed"),
        BadRequest("{\"seed\": []}", "seed"), BadRequest("{\"seed\": [1, -2]}", "seed"),
        BadRequest("{\"camera\": \"sideways\"}", "left"), BadRequest("{\"motion\": 5}", "motion"),
        BadRequest("{\"precision\": \"int4\"}", "one of float32, bf16, f16, int8"),
        BadRequest("{\"image\": 3}", "image"), BadRequest("{\"prompt\": [\"a\"]}", "prompt"),
        BadRequest("{\"model\": false}", "model"), BadRequest("{\"scheduler\": 1}", "scheduler"),
        BadRequest("{\"family\": 1}", "family"), BadRequest("{\"size\": \"big\"}", "size"),
        BadRequest("{\"size\": \"0x0\"}", "size"), BadRequest("{\"resolution\": \"361p\"}", "resolution"),
        BadRequest("{\"loras\": \"a\"}", "loras"), BadRequest("{\"loras\": [3]}", "loras"),
        BadRequest("{\"loras\": [{}]}", "loras"), BadRequest("{\"loras\": [{\"path\": 3}]}", "path"),
        BadRequest("{\"loras\": [{\"path\": \"a\", \"weight\": \"x\"}]}", "loras.weight"),
        BadRequest("{\"loras\": [{\"path\": \"a\", \"strength\": 1}]}", "strength"),
        BadRequest("{\"teacache\": 0.1}", "threshold"),
        BadRequest("{\"teacache\": {\"weight\": 1}}", "teacache.weight"),
        BadRequest("{\"teacache\": {\"threshold\": true}}", "teacache.threshold"),
        BadRequest("{\"teacache\": {\"skip_end_steps\": 1.5}}", "teacache.skip_end_steps"),
        BadRequest("{\"enhance_a_video\": []}", "weight"), BadRequest("{\"enhance_a_video_weight\": {}}", "a number"),
        BadRequest("{\"fp8_quant_mode\": \"total\"}", "one of none, lite, strong, extreme"),
        BadRequest("{\"fp8_data_type\": 8}", "fp8_e5m2"),
        BadRequest("{\"progress\": \"loud\"}", "plain"),
        BadRequest("{\"overwrite\": 1}", "overwrite"), BadRequest("{\"fames\": 8}", "frames"),
        BadRequest("{\"base-resolution\": 512}", "base_resolution"), BadRequest("{\"Seed\": 1}", "seed"),
        BadRequest("{\"nothing_like_it_at_all\": 1}", "nothing_like_it_at_all"), BadRequest("{\"\": 1}", "unknown key"),
    ]

    @Test("a bad request is refused as bad data, and the message names what is wrong", arguments: bad)
    func refuses(_ request: BadRequest) throws {
        let faults = #expect(throws: Faults.self) {
            try RequestReader.parse(Array(request.text.utf8), file: "request.json")
        }
        let text = faults?.list.map { "\($0) \($0.hint ?? "")" }.joined(separator: "\n") ?? ""
        #expect(faults?.kind == .badData)
        #expect(text.contains(request.word), "\(text)")
        #expect(text.contains("request.json"))
    }

    @Test("all wrong keys of a request are reported together")
    func reportsTogether() {
        let faults = #expect(throws: Faults.self) {
            try RequestReader.parse(Array("{\"fames\": 8, \"fps\": \"x\", \"seed\": -2}".utf8), file: "r.json")
        }
        #expect(faults?.list.count == 3)
    }

    @Test("null means not given, for every key")
    func ignoresNull() throws {
        let keys = SettingsTable.standard.keys + ["anything"]
        let text = "{" + keys.map { "\"\($0)\": null" }.joined(separator: ", ") + "}"
        #expect(try RequestReader.parse(Array(text.utf8), file: "r.json") == Order())
    }

    @Test("values arrive in their fields, paths relative to the file")
    func reads() throws {
        let text = """
            {"family": "ruyi", "model": "model", "image": "start.png", "end_image": "/end.png", "width": 48, "height": 32,
             "frames": 8, "fps": 24, "steps": 5, "scheduler": "DPM++", "guidance": 7.0, "seed": 18446744073709551615,
             "motion": 2, "camera": "left", "precision": "int8", "loras": [], "teacache": null, "enhance_a_video": false,
             "noise": "expected.safetensors", "output": "v.mp4", "overwrite": true}
            """
        let order = try RequestReader.parse(Array(text.utf8), file: "/cases/one/request.json")
        #expect(order.request.model == "/cases/one/model")
        #expect(order.request.image == "/cases/one/start.png")
        #expect(order.request.endImage == "/end.png")
        #expect(order.request.noise == "/cases/one/expected.safetensors")
        #expect(order.output == "/cases/one/v.mp4")
        #expect(order.seeds == [UInt64.max])
        #expect(order.request.motion == "2" && order.request.scheduler == "DPM++" && order.request.guidance == 7)
        #expect(order.request.precision == .int8)
        #expect(order.overwrite == true)
    }

    @Test("the command line wins over the file, and settings that exclude one another count as one")
    func merges() throws {
        let text =
            "{\"frames\": 8, \"width\": 48, \"height\": 32, \"seed\": [1, 2], \"steps\": 2, \"camera\": \"left\", "
            + "\"precision\": \"int8\"}"
        let file = try RequestReader.parse(Array(text.utf8), file: "r.json")
        var line = Order()
        line.request.seconds = 2
        line.request.resolution = 360
        line.request.steps = 9
        line.seeds = [7]
        let merged = line.over(file)
        #expect(merged.request.frames == nil && merged.request.seconds == 2)
        #expect(merged.request.width == nil && merged.request.height == nil && merged.request.resolution == 360)
        #expect(merged.request.steps == 9)
        #expect(merged.seeds == [7] && merged.request.camera == "left" && merged.request.precision == .int8)
        #expect(Order().over(file) == file)
    }

    @Test("a request of a family that this version lacks is refused for that, whatever its keys")
    func otherFamily() throws {
        for text in [
            "{\"family\": \"wan\", \"fish_score\": 2}", "{\"steps\": [5, 5], \"family\": \"wan\"}",
        ] {
            let faults = #expect(throws: Faults.self) { try RequestReader.parse(Array(text.utf8), file: "r.json") }
            #expect(faults?.list.count == 1 && faults?.kind == .badData)
            #expect(faults?.description.contains("which this version does not render") == true)
        }
        #expect(try RequestReader.parse(Array("{\"vae_tiling\": false}".utf8), file: "r.json").request.vaeTiling != nil)
    }
}
