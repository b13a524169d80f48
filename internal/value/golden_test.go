package value_test

// hashes are part of the journal format.
var hashes = map[string]uint64{
	`null`:                           0x7e0e2ff6b13a291e,
	`true`:                           0x3d1a6aafc0bf5ebf,
	`0`:                              0x647d987fa02acc60,
	`1`:                              0x4a2025f70a194ba2,
	`-1`:                             0x645d946e782adce7,
	`1.5`:                            0x2444aa6ea1557b3b,
	`1e300`:                          0x5dce6d6fa6836446,
	`9223372036854775808`:            0xe24149fe7dd67959,
	`""`:                             0xa001814fb10c04c9,
	`"hello, world"`:                 0x6b13ecf8ba378e78,
	`[]`:                             0xda760a34fc227cbd,
	`{}`:                             0xedf94450052a4da3,
	`{"a":[1,2,{"b":null}],"c":"é"}`: 0x12eec361a5a06ab,
	`[[1],[2,3]]`:                    0xe15b7f5695ae4e3e,
}
