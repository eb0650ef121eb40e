/// The version of all programs and libraries here, in this one place. Not the protocol's: that is `FrameFormat.version`.
public enum ProductVersion {
    public static let text = "0.1.0"
}
