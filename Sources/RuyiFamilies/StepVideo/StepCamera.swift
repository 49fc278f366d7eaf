/// The camera moves that Step-Video was trained with, by the words that its authors give (specification section 13).
public enum StepCamera: String, Sendable, CaseIterable {
    case fixed
    case panLeft = "pan-left"
    case panRight = "pan-right"
    case panUp = "pan-up"
    case panDown = "pan-down"
    case tiltLeft = "tilt-left"
    case tiltRight = "tilt-right"
    case tiltUp = "tilt-up"
    case tiltDown = "tilt-down"
    case zoomIn = "zoom-in"
    case zoomOut = "zoom-out"
    case dollyIn = "dolly-in"
    case dollyOut = "dolly-out"
    case rotate
    case follow
    case orbit
    case focus

    /// What stands in front of the prompt.
    public var words: String {
        switch self {
        case .fixed: "固定镜头"
        case .panLeft: "镜头左移"
        case .panRight: "镜头右移"
        case .panUp: "镜头上移"
        case .panDown: "镜头下移"
        case .tiltLeft: "镜头左摇"
        case .tiltRight: "镜头右摇"
        case .tiltUp: "镜头上摇"
        case .tiltDown: "镜头下摇"
        case .zoomIn: "镜头放大"
        case .zoomOut: "镜头缩小"
        case .dollyIn: "镜头推进"
        case .dollyOut: "镜头拉远"
        case .rotate: "镜头旋转"
        case .follow: "镜头跟随"
        case .orbit: "镜头环绕"
        case .focus: "焦点转移"
        }
    }

    /// What it does, for people.
    public var meaning: String {
        switch self {
        case .fixed: "the camera stands still"
        case .panLeft: "it moves to the left"
        case .panRight: "it moves to the right"
        case .panUp: "it rises"
        case .panDown: "it sinks"
        case .tiltLeft: "it turns to the left"
        case .tiltRight: "it turns to the right"
        case .tiltUp: "it turns upwards"
        case .tiltDown: "it turns downwards"
        case .zoomIn: "the lens draws near"
        case .zoomOut: "the lens draws away"
        case .dollyIn: "it goes forward"
        case .dollyOut: "it goes back"
        case .rotate: "it rolls"
        case .follow: "it follows the subject"
        case .orbit: "it goes round the subject"
        case .focus: "the focus moves from one thing to another"
        }
    }

    /// A prompt with the words in front, a comma between them.
    func leading(_ prompt: String) -> String { prompt.isEmpty ? words : words + "，" + prompt }
}
