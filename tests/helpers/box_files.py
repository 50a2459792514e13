"""Files of boxes, good and bad, which the readers in Python and C++ take and refuse with the same words."""

#: Paths of the images of an input.
NAMES = ["a.jpg", "sub/b.jpg", "000000000785.jpg", "one/x.jpg", "two/x.jpg"]

GOOD_FILES = {
    "COCO's annotations": {
        "images": [
            {"id": 7, "file_name": "a.jpg", "width": 300, "height": 200},
            {"id": 8, "file_name": "b.jpg"},
            {"id": 9, "file_name": "elsewhere.jpg"},
        ],
        "annotations": [
            {"image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4], "keypoints": [], "segmentation": [[1, 2]]},
            {"image_id": 9, "category_id": 1, "bbox": [1, 2, 3, 4]},
            {"image_id": 7, "category_id": 1, "bbox": [0.5, 0, 9.5, 10], "iscrowd": 0, "file_name": None},
            {"image_id": 7, "category_id": 1, "bbox": "none", "iscrowd": 1},
            {"image_id": 99, "bbox": [1, 2, 3, 4]},
        ],
    },
    "COCO's results": [
        {"image_id": 785, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.75},
        {"image_id": 785, "category_id": 1, "bbox": [1.5, 2, 3, 4], "score": 0.25},
        {"image_id": 12, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.1},
    ],
    "PaddleDetection": [
        {"image_id": 0, "category_id": 0, "file_name": "b.jpg", "bbox": [1, 2, 3, 4], "score": 0.75},
        {"image_id": 0, "category_id": 2, "file_name": "b.jpg", "bbox": [1, 2, 3, 4], "score": 0.75},
        {"image_id": 1, "category_id": 0, "file_name": "a.jpg", "bbox": [1, 2, 3, 4], "score": 0.9},
        {"image_id": 1, "category_id": 0, "file_name": "a.jpg", "bbox": [1, 2, 3, 4], "score": 0.1},
    ],
    "no boxes": [],
    "escapes": b'[{"file_name": "\\u0061.j\\u0070g", "bbox": [1e0, -0.5, 1.25E+1, 4]}, {"file_name": "\\ud83d\\ude00"'
    b', "bbox": [1, 2, 3, 4]}]',
    "a key twice": b'[{"file_name": "b.jpg", "file_name": "a.jpg", "bbox": [1, 2, 3, 4], "bbox": [4, 3, 2, 1]}]',
    "spaces": b' \t\r\n[ { "file_name" : "a.jpg" , "bbox" : [ 1 , 2 , 3 , 4 ] } ] \n',
}

_BOX = {"image_id": 1, "bbox": [1, 2, 3, 4]}
_JSON = "expected JSON in "
_BBOX = "expected 4 numbers as bbox of each box in "
BAD_FILES = {
    "nothing": (b"", _JSON),
    "no JSON": (b"left,top,right,bottom", _JSON),
    "cut short": (b'[{"image_id": 1, "bbox": [1, 2', _JSON),
    "more after it": (b"[] []", _JSON),
    "comma at the end": (b"[1,]", _JSON),
    "NaN": (b'[{"image_id": 1, "bbox": [NaN, 2, 3, 4]}]', _JSON),
    "infinity": (b'[{"image_id": 1, "bbox": [1, 2, -Infinity, 4]}]', _JSON),
    "leading zero": (b"[01]", _JSON),
    "point without digits": (b"[1.]", _JSON),
    "exponent without digits": (b"[1e]", _JSON),
    "plus": (b"[+1]", _JSON),
    "single quotes": (b"['a']", _JSON),
    "unknown escape": (b'["\\x"]', _JSON),
    "short escape": (b'["\\u12"]', _JSON),
    "line break in text": (b'["a\nb"]', _JSON),
    "other bytes": (b'["\xff"]', _JSON),
    "mark of byte order": (b"\xef\xbb\xbf[]", _JSON),
    "key without quotes": (b"{a: 1}", _JSON),
    "comment": (b"[] // none", _JSON),
    "very deep": (b"[" * 100000, _JSON),
    "text": ("boxes", "expected COCO's annotations or a list of results in "),
    "other object": ({"boxes": []}, "got an object without annotations; save the boxes in one of these forms"),
    "annotations without images": ({"annotations": []}, "expected a list as images of "),
    "annotations that are text": ({"images": [], "annotations": "x"}, "expected a list as annotations of "),
    "list of numbers": ([1], "expected objects in the lists of "),
    "no bbox": ([{"image_id": 1}], _BBOX),
    "short bbox": ([{**_BOX, "bbox": [1, 2, 3]}], "got a list of 3; save it in COCO's form"),
    "bbox of texts": ([{**_BOX, "bbox": [1, 2, 3, "4"]}], "got others; save it in COCO's form"),
    "bbox of flags": ([{**_BOX, "bbox": [True, 2, 3, 4]}], _BBOX),
    "huge bbox": (b'[{"image_id": 1, "bbox": [1, 2, 1e999, 4]}]', _BBOX),
    "score that is text": ([{**_BOX, "score": "high"}], "expected a number as score of each box in "),
    "no image": ([{"bbox": [1, 2, 3, 4]}], "expected a whole number as image_id in "),
    "image_id with a fraction": ([{**_BOX, "image_id": 1.5}], "expected a whole number as image_id in "),
    "negative image_id": ([{**_BOX, "image_id": -1}], "expected a whole number as image_id in "),
    "image_id that is text": ([{**_BOX, "image_id": "1"}], "got text; correct the file"),
    "category that is text": ([{**_BOX, "category_id": "person"}], "expected a whole number as category_id in "),
    "image without a name": ({"images": [{"id": 1}], "annotations": []}, "expected a file_name of each image in "),
    "image with a bad width": (
        {"images": [{"id": 1, "file_name": "a", "width": 1.5}], "annotations": []},
        "expected a whole number as width in ",
    ),
}
