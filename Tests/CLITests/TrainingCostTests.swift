import Base
import Foundation
import Indexer
import Lake
import Testing
import TestSupport

/// What `--dry-run` makes of the sizes of work and the rates of a machine.
@Suite struct TrainingCostTests {
  /// A machine of round numbers.
  private static let rates = MachineRates(
    assigned: 1e9, compared: 1e8, encoded: 1e7, hashed: 1e9, written: 5e8, threadCount: 2)

  /// What the threads of that machine hold while they assign a million vectors.
  private func working(_ rows: Int) -> Int {
    AssignmentEngine.workingByteCount(vectorCount: 1_000_000, rowCount: rows, dimension: 100, threadCount: 2)
  }

  private func cost(
    _ pairs: Int = 1_000_000, nearest: NearestMethod = .exact, router: RouterMethod = .none, isPaired: Bool = true
  ) -> TrainingCost {
    TrainingCost(
      pairCount: pairs, dimension: 100, rowByteCount: 400, nlist: 1000, iterations: 10, isPaired: isPaired,
      nearest: nearest, router: RouterOptions(method: router, captionLimit: 500_000))
  }

  private func seconds(_ cost: TrainingCost, _ rates: MachineRates = rates) -> [String: Double] {
    Dictionary(uniqueKeysWithValues: cost.steps(rates).map { ($0.step, $0.seconds ?? -1) })
  }

  @Test func anExactTrainingIsProductsOverRates() {
    // 400 MB twice to the disk and twice hashed; 10^12 pairs and 10 times 10^9 of 100 elements.
    #expect(seconds(cost()) == ["gathering": 1.6 + 0.8, "nearest images": 1e5, "k-means": 1000])
    #expect(seconds(cost(isPaired: false)) == ["gathering": 1.6 + 0.8, "k-means": 1000])
    // 16,384 pairs with themselves and eleven times with 256 centroids of each kind, 1,000 queries with all of them.
    var tried = cost()
    tried.triesLists = true
    #expect(seconds(tried)["trial of lists"].map { abs($0 - 52.455) < 0.001 } == true)
    let memory = cost().steps(Self.rates).map(\.memoryByteCount)
    #expect(memory == [67_108_864, 64_428_800 + working(65_536), 25_200_000 + working(1000)])
    #expect(cost().steps(Self.rates).map(\.diskByteCount) == [800_000_000, 12_000_000, 8_800_000])
  }

  /// The engine that is measured is the one that the work is for.
  @Test func whatIsAssignedIsCounted() {
    #expect(cost().assignedCount == 65_536e6)
    #expect(cost(isPaired: false).assignedCount == 1e9)
    #expect(cost(2000).assignedCount == 4e6)
    let lists = ImageIndexPlan(imageCount: 1_000_000).nlist
    #expect(cost(nearest: .index(nprobe: 128)).assignedCount == 1e6 * Double(max(lists, 1000)))
    let build = BuildCost(
      rowCount: 9, rowsToEncode: 5, byteCountToFetch: 0, dimension: 100, nlist: 30, codeByteCount: 50)
    #expect(build.assignedCount == 150)
  }

  @Test func eachThreadHoldsATile() {
    func working(_ threads: Int, _ dimension: Int = 768) -> Int {
      AssignmentEngine.workingByteCount(
        vectorCount: 20_000_000, rowCount: 131_072, dimension: dimension, threadCount: threads)
    }
    let thread = working(2) - working(1)
    #expect(working(65) - working(64) == thread)
    if CascadeForm.fastest != nil { #expect((16_000_000...20_000_000).contains(thread)) }
    // Axes are not chosen for rows as wide as that.
    #expect(working(1, 8192) < 8192 * 8192)
  }

  @Test func rangesAreLearntInMemoryOfTheirOwn() {
    func bytes(_ codec: VectorCodec, _ statistic: RangeStatistic) -> Int {
      RangeTrainer.byteCount(codec: codec, dimension: 768, statistic: statistic)
    }
    #expect(bytes(.sq4, .quantiles(0.005)) == 768 * ((256 << 10) + 8))
    #expect(bytes(.sq8, .minmax) == 768 * 8 && bytes(.fp16, .minmax) == 0)
    var ranged = cost()
    ranged.rangesByteCount = 12_345
    let step = ranged.steps(Self.rates).last
    #expect(step?.step == "ranges" && step?.seconds == 10 && step?.diskByteCount == 0)
    #expect(step?.memoryByteCount == 12_345 + 4 * 8192 * 100)
  }

  @Test func listsCostWhatTheyHold() {
    // 2,048 lists of 131,072 images in the sample; of a list 488 images, compared at half of the rate of whole rows.
    let found = seconds(cost(nearest: .index(nprobe: 64)))
    #expect(found["lists of images"] == 339.017728)
    #expect(found["nearest images"] == 6659.6)
    #expect(found["agreement"] == 1000)
    #expect(found["k-means"] == 1000)
    // All lists are all images.
    #expect(NearestMethod.index(nprobe: 1 << 20).comparisons(imageCount: 1_000_000) == 1_002_048)
  }

  @Test func aRouterHasLabelsAndEpochs() {
    let found = seconds(cost(router: .learned))
    #expect(found["refinements"] == 300)
    #expect(found["router labels"] == 1_000_000)
    #expect(found["router"] == 30_000)
    let anchored = seconds(cost(router: .anchored))
    #expect(anchored["refinements"] == 1000)
    #expect(anchored["router labels"] == 1_000_000)
    #expect(anchored["router"] == 30_000)
    let means = seconds(cost(router: .captionMean))
    #expect(means["router labels"] == 500_000)
    #expect(means["router"] == nil)
    // The lists are made once, by who needs them first.
    let lists = cost(nearest: .index(nprobe: 8), router: .learned).steps(Self.rates).map(\.step)
    #expect(lists.filter { $0 == "lists of images" }.count == 1)
    let images = cost(nearest: .index(nprobe: 8), router: .learned, isPaired: false).steps(Self.rates).map(\.step)
    #expect(images == ["gathering", "k-means", "lists of images", "router labels", "router"])
  }

  @Test func aBuildIsRowsOverRates() {
    let build = BuildCost(
      rowCount: 3_000_000, rowsToEncode: 1_000_000, byteCountToFetch: 5000, dimension: 100, nlist: 1000,
      codeByteCount: 42)
    let steps = build.steps(Self.rates)
    #expect(steps.map(\.step) == ["fetching", "assigning", "encoding", "segments", "outputs"])
    // 50 MB of segments and 150 MB of outputs, at 500 MB/s written and 1,000 hashed.
    let seconds: [Double?] = [nil, 100, 10, 0.1 + 0.05, 0.3 + 0.15]
    #expect(steps.map(\.seconds) == seconds)
    #expect(steps.map(\.diskByteCount) == [5000, 0, 0, 50_000_000, 150_400_000])
  }

  @Test func whatWasNotMeasuredIsNotMadeUp() {
    var rates = Self.rates
    rates.written = nil
    let steps = cost().steps(rates)
    #expect(steps[0].seconds == nil && steps.dropFirst().allSatisfy { $0.seconds != nil })
  }

  @Test func aBuildIsToldBeforeItIsMade() throws {
    let lake = try LakeFixture.make(.trained)
    let arguments = ["build", "v", "--trained", "t", "--images", "images", "--dry-run"]
    let told = try #require(JSONValue(parsing: lake.succeed(arguments + ["--json"]).outputText))
    #expect(told["steps"] != nil && told["measured_here"]?["encoded_components_per_second"] != nil)
    #expect(try lake.succeed(arguments).outputText.contains("segments"))
    #expect(try lake.texts("SELECT count(*) FROM index_version") == ["0"])
    #expect(try lake.run(["build", "v", "--trained", "none", "--images", "images", "--dry-run"]).ending != .exit(0))
  }

  /// It tells the table and leaves the lake as it was.
  @Test func aDryRunTellsAndWritesNothing() throws {
    let lake = try PairedShards([300], seed: 4).lake()
    // SQLite's own files come and go with whoever reads.
    func files() throws -> [String] {
      try FileManager.default.subpathsOfDirectory(atPath: lake.lake).sorted().filter {
        !$0.hasSuffix("-wal") && !$0.hasSuffix("-shm")
      }
    }
    let before = try files()
    let events = try lake.texts("SELECT count(*) FROM event")
    let arguments = [
      "train", "t", "--images", "images", "--captions", "captions", "--nlist", "8", "--nearest", "index", "--dry-run",
    ]
    let told = try lake.succeed(arguments).outputText
    for word in ["step", "gathering", "lists of images", "agreement", "k-means", "ranges", "measured here"] {
      #expect(told.contains(word), "\(told)")
    }
    let json = try #require(JSONValue(parsing: lake.succeed(arguments + ["--json"]).outputText))
    #expect(json["measured_here"]?["assigned_products_per_second"] != nil && json["steps"] != nil)
    #expect(try files() == before)
    #expect(try lake.texts("SELECT count(*) FROM event") == events)
    #expect(try lake.texts("SELECT count(*) FROM trained_index") == ["0"])
    #expect(try lake.run(["train", "t", "--images", "images", "--nlist", "8", "--dry-run"]).ending == .exit(64))
  }
}
