import CFaiss
package func g() -> Int { unsafe Int(cfaiss_x("/tmp/x.idx")) }
