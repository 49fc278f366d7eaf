/// The families that the program knows; adding one is adding a line.
public enum Registry {
    /// One line a family.
    public static let families: [any Family.Type] = [
        Ruyi.self, HunyuanVideo.self, FramePack.self, PyramidFlow.self, StepVideo.self,
    ]
}
