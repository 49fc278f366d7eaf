import RuyiCPU
import RuyiFiles
import RuyiModels
import RuyiTensor
import Testing

@Suite("token refiner")
struct TokenRefinerTests {
    @Test("its feed-forward layers are four times as wide as its tokens, whatever the other blocks have")
    func ratio() throws {
        let (width, text) = (16, 24)
        func linear(_ name: String, _ input: Int, _ output: Int) -> [(key: String, shape: [Int])] {
            [(name + ".weight", [output, input]), (name + ".bias", [output])]
        }
        let place = "token_refiner.refiner_blocks.0."
        var shapes = linear("proj_in", text, width)
        for (name, input) in [("timestep_embedder", ConditioningEmbedder.sinusoidWidth), ("text_embedder", text)] {
            shapes += linear("time_text_embed.\(name).linear_1", input, width)
            shapes += linear("time_text_embed.\(name).linear_2", width, width)
        }
        for name in ["norm1", "norm2"] {
            shapes += [(place + name + ".weight", [width]), (place + name + ".bias", [width])]
        }
        for name in ["to_q", "to_k", "to_v", "to_out.0"] { shapes += linear(place + "attn." + name, width, width) }
        shapes += linear(place + "ff.net.0.proj", width, 4 * width) + linear(place + "ff.net.2", 4 * width, width)
        shapes += linear(place + "norm_out.linear", width, 2 * width)
        let layers = try LayerCount(JSONObject(parsing: Array("{\"n\":1}".utf8), file: "config.json"), "n")
        for innerWidth in [2 * width, 4 * width, 6 * width] {
            let ledger = WeightLedger()
            _ = TokenRefiner(
                WeightScope(
                    MemoryWeights.random(shapes, dtype: .f32, path: "refiner"), ledger: ledger,
                    on: CPUBackend(threads: 1)),
                textWidth: text, layers: layers, StreamSizes(heads: 2, headSize: 8, innerWidth: innerWidth))
            try ledger.finish()
        }
    }
}
