import RocketMQBase
import Testing

@Suite struct NearestNameTests {
    @Test(
        arguments: [
            ("namesrvAdr", "namesrvAddr"), ("NAMESRVADDR", "namesrvAddr"), ("brokerNmae", "brokerName"), ("xyz", nil), ("", nil),
            ("brokerID", "brokerId"), ("rokerName", "brokerName"), (String(repeating: "a", count: 100_000), nil),
        ] as [(String, String?)])
    func `a slip of the keyboard is recognised`(word: String, expected: String?) {
        #expect(nearestName(to: word, among: ["brokerId", "brokerName", "namesrvAddr", "listenPort"]) == expected)
    }

    @Test func `equally near names are told apart the same way every time`() {
        #expect(nearestName(to: "brokerIP3", among: ["brokerIP2", "brokerIP1"]) == "brokerIP1")
        #expect(nearestName(to: "brokerIP3", among: ["brokerIP1", "brokerIP2"]) == "brokerIP1")
    }
}
