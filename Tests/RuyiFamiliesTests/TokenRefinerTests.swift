import RuyiFiles
import RuyiModels
import Testing

@Suite("token refiner")
struct TokenRefinerTests {
    @Test("its feed-forward layers are four times as wide as its tokens, whatever the other blocks have")
    func ratio() throws {
        let layers = try LayerCount(JSONObject(parsing: Array("{\"n\":2}".utf8), file: "config.json"), "n")
        let counts = [8, 16, 64].map { innerWidth in
            let ledger = WeightLedger()
            _ = TokenRefiner(
                WeightScope.measuring(ledger), textWidth: 24, layers: layers,
                StreamSizes(heads: 2, headSize: 8, innerWidth: innerWidth))
            return ledger.byteCount
        }
        #expect(Set(counts).count == 1 && counts[0] > 0)
    }
}
